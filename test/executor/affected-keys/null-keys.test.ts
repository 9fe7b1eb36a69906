/**
 * A key that is NULL in a report of class `affectedKeys`, in any span: it is refused as in the first one, and
 * spans that do not touch it go on.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken, isTidemarkError, must } from '../../../src/base/index.ts';
import { createStoreTables } from '../../../src/collector/index.ts';
import { computeContribution } from '../../../src/executor/compute/compute.ts';
import { layoutOf, type ReportLayout } from '../../../src/executor/sink/layout.ts';
import { advanceStates, createStateTables } from '../../../src/executor/states/index.ts';
import { compileJob, parseJobFile, type CapturedTable } from '../../../src/job/index.ts';
import { openEngine, type EngineKind, type SqlEngine } from '../../../src/sql/index.ts';
import type { SealedWindow } from '../../../src/wire/index.ts';
import { freshDatabase, mariadbMissing } from '../../support/mariadb.ts';
import { rule } from '../../support/rule.ts';
import { held, holdAll } from '../held.ts';
import { EPOCH, seal, SOURCE, sourceOf, writeWindows, type Change } from '../states/store-shard.ts';

const ORDERS: CapturedTable = {
  table: 'orders',
  schemaVersion: 1,
  columns: [
    { name: 'id', type: 'BIGINT', nullable: false },
    { name: 'shop', type: 'BIGINT', nullable: false },
    { name: 'buyer', type: 'TEXT(8)', nullable: true },
  ],
  primaryKey: ['id'],
  shardKey: 'id',
};
const SHOP = sourceOf([ORDERS]);
const INPUT = { o: { changes: 'orders' } };
const REPORTS: Readonly<Record<string, object>> = {
  by_buyer: {
    inputs: INPUT,
    keys: { buyer: 'TEXT(8)' },
    sql: 'SELECT buyer, COUNT(*) AS n FROM o GROUP BY buyer HAVING COUNT(*) > 0',
  },
  by_shop_and_buyer: {
    inputs: INPUT,
    keys: { shop: 'BIGINT', buyer: 'TEXT(8)' },
    sql: 'SELECT shop, buyer, COUNT(*) AS n FROM o GROUP BY shop, buyer',
  },
  /** Its text shows nothing, so that all rows are read. */
  told: {
    inputs: { o: { changes: 'orders', touched: 'SELECT buyer FROM o' } },
    keys: { buyer: 'TEXT(8)' },
    sql: 'SELECT buyer, n FROM (SELECT buyer, COUNT(*) AS n FROM o GROUP BY buyer) AS t',
  },
};

const order = (weight: 1n | -1n, id: bigint, shop: bigint, buyer: string | null): Change => ({
  table: 'orders',
  weight,
  row: [id, shop, buyer],
});
/** In window 2 a key is NULL, in window 4 it is corrected; in 5 another row of NULL comes and goes. */
const WINDOWS: readonly (readonly Change[])[] = [
  [order(1n, 1n, 1n, 'x'), order(1n, 2n, 1n, 'y')],
  [order(1n, 3n, 1n, 'x'), order(1n, 4n, 7n, null)],
  [order(1n, 5n, 2n, 'y')],
  [order(-1n, 4n, 7n, null), order(1n, 4n, 7n, 'z')],
  [order(1n, 6n, 9n, null), order(-1n, 6n, 9n, null), order(-1n, 1n, 1n, 'x'), order(1n, 1n, 1n, 'z')],
];

describe.each([
  ['the embedded engine', 'embedded', ['main'], false],
  ['MariaDB', 'mysql', ['main'], mariadbMissing()],
  ['MariaDB, gathered from two shards,', 'mysql', ['main', 'other'], mariadbMissing()],
] as const)('NULL keys of class affectedKeys on %s', (_name, kind, shards, missing) => {
  describe.skipIf(missing)('in spans after the first', () => {
    const stores: { readonly shard: string; readonly store: SqlEngine }[] = [];
    const ends: (() => Promise<void>)[] = [];
    /** The change rows of a shard, by window: of several each has every other order. */
    const windowsOf = (shard: string): (readonly Change[])[] =>
      WINDOWS.map((changes) =>
        changes.filter(({ row: [id] }) => shards[Number(id) % shards.length] === shard),
      );
    const sealed = (window: number): SealedWindow =>
      seal(
        SHOP,
        window,
        Object.fromEntries(shards.map((shard) => [shard, windowsOf(shard)[window - 1]?.length ?? 0])),
      );

    beforeAll(async () => {
      for (const shard of shards) {
        const [store, end] = await opened(kind);
        stores.push({ shard, store });
        ends.push(end);
        await createStoreTables(store, SOURCE, SHOP);
        await createStateTables(store, SOURCE, SHOP);
        await writeWindows(store, SHOP, SOURCE, windowsOf(shard));
        await advanceStates(store, {
          ...{ sourceId: SOURCE, source: SHOP, captured: () => ORDERS, shard },
          windows: WINDOWS.map((_changes, at) => sealed(at + 1)),
          ...{
            token: asToken(EPOCH),
            marker: 'test',
            formerChains: [],
            signal: new AbortController().signal,
          },
        });
      }
    });

    afterAll(async () => {
      for (const end of ends) await end();
    });

    async function rowsOf(layout: ReportLayout, first: number, last = first): Promise<string[]> {
      const windows = WINDOWS.map((_changes, at) => sealed(at + 1)).slice(first - 1, last);
      const [, ...others] = stores;
      const { contribution } = await computeContribution({
        ...{ ...must(stores[0], 'a store'), ...(others.length === 0 ? {} : { others }) },
        ...{ layout, source: SHOP, captured: () => ORDERS, sourceId: SOURCE },
        timeMs: 60_000,
        ...{ windows, fromStates: false, prepared: 1n, marker: 'test', formerChains: [], gather: holdAll },
        signal: new AbortController().signal,
      });
      const keys = layout.keys.length;
      return held(contribution)
        .additive.map((row) => [...row.slice(0, keys).map(text), String(row[keys])].join(' '))
        .sort();
    }

    const told = async (layout: ReportLayout, first: number, last = first): Promise<string> => {
      try {
        return (await rowsOf(layout, first, last)).join();
      } catch (error) {
        if (isTidemarkError(error)) return `${error.code}: ${error.message}`;
        throw error;
      }
    };

    rule('job.nullKeysLeftOut', 'are refused, with report, window and row', async () => {
      for (const name of ['by_buyer', 'told']) {
        const layout = layoutFor(name, kind);
        const refused = `KEY_NULL: report ${name}, window 2: key buyer is NULL, in the row of buyer = NULL`;
        expect(await told(layout, 2)).toBe(refused);
        expect(await told(layout, 2, 3)).toBe(refused.replace('window 2', 'windows 2 to 3'));
      }
      expect(await told(layoutFor('by_shop_and_buyer', kind), 2)).toBe(
        'KEY_NULL: report by_shop_and_buyer, window 2: key buyer is NULL, in the row of ' +
          'shop = 7, buyer = NULL',
      );
    });

    it('hold up no span that does not touch them, or after which they are gone', async () => {
      for (const name of ['by_buyer', 'told']) {
        const layout = layoutFor(name, kind);
        expect(await told(layout, 3)).toBe('y 1');
        expect(await told(layout, 4)).toBe('z 1');
        expect(await told(layout, 2, 4)).toBe('x 1,y 1,z 1');
        expect(await told(layout, 5)).toBe('x 1,z 1');
      }
      const both = layoutFor('by_shop_and_buyer', kind);
      expect(await told(both, 3)).toBe('2 y 1');
      expect(await told(both, 5)).toBe('1 x 1,1 z 1');
    });
  });
});

async function opened(kind: EngineKind): Promise<[SqlEngine, () => Promise<void>]> {
  if (kind === 'mysql') {
    const database = await freshDatabase('null_keys');
    const engine = openEngine({ kind, url: database.url });
    return [engine, () => engine.close().then(database.drop)];
  }
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-null-keys-'));
  const engine = openEngine({ kind, file: join(folder, 'all.db') });
  return [engine, () => engine.close().then(() => rm(folder, { recursive: true, force: true }))];
}

const text = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);

function layoutFor(name: string, kind: EngineKind): ReportLayout {
  const database = kind === 'mysql' ? { mysql: { url: { env: 'URL' } } } : { embedded: { file: 'a.db' } };
  const file = parseJobFile(
    JSON.stringify({
      ...{ version: 1, job: 'shop', sources: { shop: { ...database, tables: ['orders'] } } },
      ...{ stores: { main: database }, databases: { reports: database } },
      reports: {
        [name]: {
          ...{ class: 'affectedKeys', measures: { n: { kind: 'value', type: 'BIGINT' } } },
          ...must(REPORTS[name], name),
        },
      },
    }),
  );
  const { reports } = compileJob({ file, tablesOf: () => [ORDERS] });
  return layoutOf({ reportId: 1, generation: 1 }, must(reports[0], 'the report'));
}
