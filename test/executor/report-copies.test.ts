/** Dimension copies of reports on two store shards: what is read stays the same rows (design 6.2). */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dropUnread, prepareCopies } from '../../src/executor/prepare/report-copies.ts';
import type { ReportLayout } from '../../src/executor/sink/layout.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { reportDefinition, type ReportCopies } from '../../src/wire/index.ts';
import { rule } from '../support/rule.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';

type Kind = 'embedded' | 'mysql';

const REPORT = reportDefinition(1, 1);
const name = (token: bigint, table = 'merchants'): string => `tm_dimension_3_${table}_${token}`;

class Places {
  readonly source: SqlEngine;
  readonly stores: readonly SqlEngine[];
  readonly #drop: () => Promise<unknown>;

  private constructor(engines: readonly SqlEngine[], drop: () => Promise<unknown>) {
    const [source, ...stores] = engines;
    if (source === undefined) throw new Error('no source');
    this.source = source;
    this.stores = stores;
    this.#drop = drop;
  }

  static async open(kind: Kind): Promise<Places> {
    if (kind === 'mysql') {
      const databases = await Promise.all(['source', 'one', 'two'].map((of) => freshDatabase(of)));
      const engines = databases.map(({ url }) => openEngine({ kind, url }));
      return new Places(engines, () => Promise.all(databases.map((database) => database.drop())));
    }
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-copies-'));
    const engines = ['source', 'one', 'two'].map((of) =>
      openEngine({ kind, file: join(folder, `${of}.db`) }),
    );
    return new Places(engines, () => rm(folder, { recursive: true, force: true }));
  }

  async close(): Promise<void> {
    for (const engine of [this.source, ...this.stores]) await engine.close();
    await this.#drop();
  }

  async run(engine: SqlEngine | undefined, sql: string): Promise<readonly (readonly unknown[])[]> {
    if (engine === undefined) throw new Error('no such engine');
    return (await engine.use('test', (connection) => connection.query(sql))).rows;
  }

  /** What each shard has in the copy of a token. */
  copies(token: bigint): Promise<unknown[]> {
    return Promise.all(this.stores.map((store) => this.run(store, `SELECT id FROM ${name(token)}`)));
  }

  async prepare(token: bigint, known?: ReportCopies): Promise<ReportCopies> {
    const inputs = [
      {
        kind: 'dimension',
        alias: 'm',
        table: 'merchants',
        columns: [{ name: 'id', type: 'BIGINT', nullable: false }],
      },
    ];
    const layout = { report: { inputs } } as unknown as ReportLayout;
    const copies = known === undefined ? [] : [known];
    const prepare = { token, sourceId: 3n, reports: [REPORT], copies, pending: [] };
    const [told] = await prepareCopies(this, prepare, [layout]);
    if (told === undefined) throw new Error('nothing was told');
    return told;
  }
}

describe.each<Kind>(['embedded', 'mysql'])('dimension copies on %s', (kind) => {
  describe.skipIf(kind === 'mysql' && mariadbMissing())('of a report', () => {
    let places: Places;
    let first: ReportCopies;

    beforeEach(async () => {
      places = await Places.open(kind);
      await places.run(places.source, 'CREATE TABLE merchants (id BIGINT NOT NULL)');
      await places.run(places.source, 'INSERT INTO merchants VALUES (1)');
      first = await places.prepare(7n);
    });

    afterEach(() => places.close());

    const lose = async (...shards: number[]): Promise<void> => {
      for (const shard of shards) await places.run(places.stores[shard], `DROP TABLE ${name(7n)}`);
    };
    const change = (): Promise<unknown> => places.run(places.source, 'UPDATE merchants SET id = 2');

    it('are told of with what they hold, and stay as they are', async () => {
      expect(first).toMatchObject({ report: REPORT, prepared: 7n, dimensions: [{ rows: 1n }], lost: false });
      await change();
      expect(await places.prepare(8n, first)).toEqual(first);
      expect(await places.copies(7n)).toEqual([[[1n]], [[1n]]]);
      expect(await places.prepare(9n)).toMatchObject({ prepared: 9n, lost: false });
      expect(await places.copies(9n)).toEqual([[[2n]], [[2n]]]);
    });

    it('are made again of another shard, or of a source that holds the same rows', async () => {
      await lose(0, 1);
      expect(await places.prepare(8n, first)).toEqual(first);
      await change();
      await lose(1);
      expect(await places.prepare(9n, first)).toEqual(first);
      expect(await places.copies(7n)).toEqual([[[1n]], [[1n]]]);
    });

    it('are made again where other rows stand under their name', async () => {
      await places.run(places.stores[0], `UPDATE ${name(7n)} SET id = 5`);
      expect(await places.prepare(8n, first)).toEqual(first);
      expect(await places.copies(7n)).toEqual([[[1n]], [[1n]]]);
    });
  });
});

describe('dimension copies', () => {
  rule(
    'executor.copyRefreshed',
    'are lost where no shard has them and the source holds other rows',
    async () => {
      const places = await Places.open('embedded');
      try {
        await places.run(places.source, 'CREATE TABLE merchants (id BIGINT NOT NULL)');
        const first = await places.prepare(7n);
        for (const store of places.stores) await places.run(store, `DROP TABLE ${name(7n)}`);
        await places.run(places.source, 'INSERT INTO merchants VALUES (1)');
        expect(await places.prepare(8n, first)).toMatchObject({ prepared: 7n, lost: true });
        await expect(places.copies(7n)).rejects.toMatchObject({ code: 'TABLE_MISSING' });
        await places.run(places.source, 'DROP TABLE merchants');
        expect(await places.prepare(9n, first)).toMatchObject({ lost: true });
      } finally {
        await places.close();
      }
    },
  );

  rule('executor.unreadCopiesKept', 'are dropped when nobody reads them', async () => {
    const places = await Places.open('embedded');
    try {
      const [store] = places.stores;
      if (store === undefined) throw new Error('no store');
      const tables = [
        name(4n),
        name(5n),
        name(5n, 'shops'),
        name(6n),
        name(9n),
        'tm_dimension_33_merchants_4',
      ];
      for (const table of [...tables, 'tm_unfinished_3_4'])
        await places.run(store, `CREATE TABLE ${table} (id BIGINT)`);
      const dimensions = [{ table: 'merchants', rows: 0n, checksum: '' }];
      const copies = [{ report: REPORT, prepared: 5n, dimensions, lost: false }];
      await dropUnread(store, { token: 8n, sourceId: 3n, copies, pending: [6n] });
      const left = await places.run(
        store,
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
      );
      const expected = ['tm_dimension_33_merchants_4', name(5n), name(6n), name(9n)];
      expect(left.map(([table]) => table)).toEqual(expected);
    } finally {
      await places.close();
    }
  });
});
