/** Tables that are altered while they are captured, on MariaDB: windows, schema versions, takeovers. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TidemarkError } from '../../src/base/index.ts';
import { armFailpoint, disarmFailpoint, setMutation } from '../../src/base/test-build-active.ts';
import { changeTable, type CapturedTable, type CompiledSource } from '../../src/job/index.ts';
import type { SqlValue } from '../../src/sql/index.ts';
import type { SealedWindow } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import {
  endCollectors,
  SOURCE_ID,
  SealLog,
  compile,
  openFixture,
  startCollector,
  type Fixture,
  type RunningCollector,
} from './fixtures.ts';

describe.skipIf(mariadbMissing())('an altered table', () => {
  let fixture: Fixture;
  let source: CompiledSource;
  let log: SealLog;
  let running: RunningCollector[];

  beforeEach(async () => {
    fixture = await openFixture('mysql');
    await fixture.exec(
      'CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20), n INT)',
      'CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY)',
      "INSERT INTO item VALUES (1, 'a', 10)",
    );
    source = await compile(fixture, ['item', 'other']);
    log = new SealLog();
    running = [];
  });

  afterEach(async () => {
    disarmFailpoint('collector.beforeSchema');
    disarmFailpoint('collector.beforeMark');
    await endCollectors(running, () => fixture.close());
  });

  const start = (): RunningCollector => {
    const collector = startCollector(fixture, source, log);
    running.push(collector);
    return collector;
  };

  const caughtUp = async (): Promise<void> => {
    const now = Date.now();
    await eventually(() => Number(log.windows.at(-1)?.coversMs ?? 0) > now + 1, { withinMs: 15_000 });
  };

  const versionOf = (table: string, version: number): CapturedTable => {
    const known = [...log.changes.flatMap(({ before, after }) => [before, after]), ...source.tables];
    const found = known.find((one) => one.table === table && one.schemaVersion === version);
    if (found === undefined) throw new Error(`no version ${version} of ${table}`);
    return found;
  };

  /** Version, weight and values of every sealed row of a table; no sealed row is elsewhere. */
  const rowsOf = async (table: string): Promise<string[]> => {
    const { id } = fixture.store.dialect;
    const rows: string[] = [];
    let sealed = 0n;
    let found = 0n;
    for (const window of log.windows) {
      sealed += window.shards[0]?.rows ?? 0n;
      for (const named of window.schemaVersions) {
        const { columns, schemaVersion } = versionOf(named.table, named.version);
        const name = changeTable({ sourceId: SOURCE_ID, table: named.table, schemaVersion });
        const list = columns.map((column) => id(column.name)).join(', ');
        const read = await fixture.store.use('test', async (connection) => {
          const where = '_source = ? AND _epoch = ? AND _day = ? AND _window = ? ORDER BY _n';
          const key: SqlValue[] = [BigInt(SOURCE_ID), window.epoch, window.day, window.window];
          return (await connection.query(`SELECT _w, ${list} FROM ${id(name)} WHERE ${where}`, key)).rows;
        });
        found += BigInt(read.length);
        if (named.table !== table) continue;
        rows.push(
          ...read.map(([weight, ...values]) => `v${named.version} ${String(weight)} ${values.join(' ')}`),
        );
      }
    }
    expect(found).toBe(sealed);
    return rows;
  };

  it('begins a version per definition, with every row under the one that it was logged with', async () => {
    start();
    await caughtUp();
    await fixture.exec(
      "INSERT INTO item VALUES (2, 'b', 20)",
      'ALTER TABLE item ADD COLUMN extra INT DEFAULT 7, ALGORITHM=INSTANT',
      'UPDATE item SET n = 21 WHERE id = 2',
    );
    await caughtUp();
    await fixture.exec(
      'ALTER TABLE item RENAME COLUMN name TO label',
      'ALTER TABLE item ADD INDEX by_label (label)',
      'DELETE FROM item WHERE id = 1',
    );
    await caughtUp();
    await fixture.exec(
      'ALTER TABLE item MODIFY n BIGINT',
      'INSERT INTO item VALUES (3, NULL, 5000000000, 1)',
    );
    await caughtUp();
    expect(await rowsOf('item')).toEqual([
      'v1 1 1 a 10',
      'v1 1 2 b 20',
      'v2 -1 2 b 20 7',
      'v2 1 2 b 21 7',
      'v3 -1 1 a 10 7',
      'v4 1 3  5000000000 1',
    ]);
    expect(log.changes.map(({ broken }) => broken.map(({ column }) => column))).toEqual([[], ['name'], []]);
    expect(log.windows.at(-1)?.schemaVersions).toEqual([
      { table: 'item', version: 4 },
      { table: 'other', version: 1 },
    ]);
  });

  it('seals what came before the statement under the former version', async () => {
    source = { ...source, window: { ...source.window, lengthMs: 60_000 } };
    start();
    await eventually(() => log.windows.length === 1, { withinMs: 15_000 });
    await fixture.exec("INSERT INTO item VALUES (2, 'b', 20)", 'ALTER TABLE item ADD more INT');
    await eventually(() => log.windows.length === 2, { withinMs: 15_000 });
    expect(log.windows[1]?.schemaVersions).toContainEqual({ table: 'item', version: 1 });
    expect(log.windows[1]?.shards[0]?.rows).toBe(1n);
  });

  it('counts rows of a window that a definition lies in as lost, without that rule', async () => {
    setMutation('collector.definitionInsideWindow', true);
    try {
      source = { ...source, window: { ...source.window, lengthMs: 2_000 } };
      start();
      await eventually(() => log.windows.length === 1, { withinMs: 15_000 });
      await fixture.exec(
        "INSERT INTO item VALUES (2, 'b', 20)",
        'ALTER TABLE item ADD more INT',
        'INSERT INTO other VALUES (1)',
      );
      await caughtUp();
      await expect(rowsOf('item')).rejects.toThrow();
    } finally {
      setMutation('collector.definitionInsideWindow', false);
    }
  });

  it('is followed anew by a successor, before and after the version was replicated', async () => {
    start();
    await caughtUp();
    armFailpoint({ name: 'collector.beforeSchema', action: 'error' });
    await fixture.exec('ALTER TABLE item ADD more INT', "INSERT INTO item VALUES (2, 'b', 20, 1)");
    await expect(running[0]?.ended).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(log.changes).toEqual([]);
    disarmFailpoint('collector.beforeSchema');
    armFailpoint({ name: 'collector.beforeMark', action: 'error' });
    await expect(start().ended).rejects.toMatchObject({ code: 'INTERNAL' });
    disarmFailpoint('collector.beforeMark');
    // Replicated, and not sealed: the successor is given it, and meets the statement once more.
    expect(log.changes.map(({ after }) => after.schemaVersion)).toEqual([2]);
    start();
    await caughtUp();
    expect(await rowsOf('item')).toEqual(['v1 1 1 a 10', 'v3 1 2 b 20 1']);
  });

  /** Alters both tables, with rows of the second in between, while nobody collects. */
  const backlog = async (first: string): Promise<void> => {
    const collector = start();
    await caughtUp();
    await collector.stop();
    await fixture.exec(
      first,
      'INSERT INTO other VALUES (1)',
      'ALTER TABLE other ADD y INT DEFAULT 3',
      'INSERT INTO other VALUES (2, 4)',
    );
    const successor = start();
    await Promise.race([caughtUp(), successor.ended]);
    expect(await rowsOf('other')).toEqual(['v1 1 1', 'v2 1 2 4']);
  };

  rule('collector.adoptsLaterDefinitions', 'is given no definition that lies further on in the log', () =>
    backlog('ALTER TABLE item ADD more INT'),
  );

  /** Twice, with rows under each definition, before anybody reads the first; no column is told by both. */
  const alteredTwice = async (): Promise<void> => {
    const collector = start();
    await caughtUp();
    await collector.stop();
    await fixture.exec(
      `ALTER TABLE item MODIFY n BIGINT, ADD d DECIMAL(9,3) DEFAULT 1.5,
         ADD e ENUM('x', 'it''s') DEFAULT 'x'`,
      "INSERT INTO item VALUES (2, 'b', 5000000000, 2.25, 'it''s')",
      'ALTER TABLE item ADD INDEX by_n (n)',
      'UPDATE item SET d = 3 WHERE id = 1',
      'INSERT INTO other VALUES (1)',
      'ALTER TABLE item DROP COLUMN name, MODIFY n DECIMAL(20,2), DROP COLUMN d, ADD d DATETIME(3)',
      "INSERT INTO item VALUES (3, 1.25, 'x', '2020-01-02 03:04:05.678')",
    );
    const successor = start();
    await Promise.race([caughtUp(), successor.ended]);
    expect(await rowsOf('item')).toEqual([
      'v1 1 1 a 10',
      "v2 1 2 b 5000000000 2.250 it's",
      'v2 -1 1 a 10 1.500 x',
      'v2 1 1 a 10 3.000 x',
      'v3 1 3 1.25 x 2020-01-02 03:04:05.678',
    ]);
    expect(log.changes.map(({ broken }) => broken.map(({ column }) => column))).toEqual([
      [],
      ['name', 'n', 'd'],
    ]);
  };
  rule(
    'collector.presentDefinitionOnly',
    'is read under the definition that rows were logged with, not under a later one',
    alteredTwice,
  );

  rule(
    'collector.keyAlteredAndBack',
    'ends capture when its key was another for a while, in which rows may have shared it',
    async () => {
      const collector = start();
      await caughtUp();
      await collector.stop();
      await fixture.exec(
        'ALTER TABLE item DROP PRIMARY KEY, ADD KEY (id)',
        "INSERT INTO item VALUES (1, 'b', 20)",
        'DELETE FROM item WHERE n = 10',
        'ALTER TABLE item DROP KEY id, ADD PRIMARY KEY (id)',
      );
      const successor = start();
      await expect(Promise.race([successor.ended, caughtUp()])).rejects.toMatchObject({
        code: 'SCHEMA_CHANGED',
      });
    },
  );

  it('is not looked at for a definition that alters no column', () =>
    backlog('ALTER TABLE item ADD INDEX (n)'));

  rule(
    'collector.unstoredRowsReadAgain',
    'is altered behind the cursor of a snapshot, and its rows are not read under the new version',
    async () => {
      const rows = Array.from({ length: 40 }, (_, at) => `(${at})`).join(', ');
      await fixture.exec(
        'CREATE TABLE big (id BIGINT NOT NULL PRIMARY KEY)',
        `INSERT INTO big VALUES ${rows}`,
      );
      source = await compile(fixture, ['big', 'item']);
      const sealUntil = async (isEnd: () => boolean): Promise<void> => {
        const seal = (window: SealedWindow, cursor: string): Promise<void> => {
          if (isEnd()) return Promise.reject(new TidemarkError('STALE_EPOCH', 'killed'));
          log.seal(window, cursor);
          return Promise.resolve();
        };
        const killed = startCollector(fixture, source, log, { seal, chunkRows: 5 });
        running.push(killed);
        await expect(killed.ended).rejects.toMatchObject({ code: 'STALE_EPOCH' });
      };
      await sealUntil(() => log.windows.length > 0);
      source = { ...source, window: { ...source.window, lengthMs: 500 } };
      await fixture.exec('UPDATE item SET n = 11', 'ALTER TABLE item ADD more INT DEFAULT 7');
      await sealUntil(() => log.changes.length > 0);
      expect(log.changes.map(({ after }) => after.schemaVersion)).toEqual([2]);
      source = log.source ?? source;
      const successor = startCollector(fixture, source, log, { chunkRows: 5 });
      running.push(successor);
      await Promise.race([eventually(() => log.cursors.includes(''), { withinMs: 15_000 }), successor.ended]);
      expect((await rowsOf('item')).map((row) => row.slice(3))).toEqual(['1 1 a 11 7']);
    },
  );

  it('is captured as it is when it was altered before the first snapshot', async () => {
    await fixture.exec('ALTER TABLE item DROP COLUMN name');
    start();
    await caughtUp();
    expect(await rowsOf('item')).toEqual(['v2 1 1 10']);
  });

  /** What came before the statement is sealed, also by a collector that never comes behind it. */
  const ends = async (statement: string): Promise<void> => {
    source = { ...source, window: { ...source.window, lengthMs: 60_000 } };
    const collector = start();
    await eventually(() => log.windows.length === 1, { withinMs: 15_000 });
    await fixture.exec("INSERT INTO item VALUES (2, 'b', 20)", statement);
    await expect(collector.ended).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' });
    await expect(start().ended).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' });
    expect(await rowsOf('item')).toEqual(['v1 1 1 a 10', 'v1 1 2 b 20']);
    expect(log.windows).toHaveLength(2);
  };
  it.each([
    ['its key is another', 'ALTER TABLE item DROP PRIMARY KEY, ADD PRIMARY KEY (id, n)'],
    ['its key has another type', 'ALTER TABLE item MODIFY id INT NOT NULL'],
    ['it was dropped', 'DROP TABLE item'],
  ])('ends capture when %s', (_, statement) => ends(statement));
  rule('collector.stuckRowsUnsealed', 'ends capture when it was renamed', () =>
    ends('RENAME TABLE item TO thing'),
  );
});
