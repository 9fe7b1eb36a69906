/** A snapshot in chunks while its tables change, and while collectors are killed between and in chunks. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { armFailpoint, disarmFailpoint } from '../../src/base/test-build-active.ts';
import type { CompiledSource } from '../../src/job/index.ts';
import type { SqlConnection, SqlEngine } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import {
  endCollectors,
  SealLog,
  compile,
  openFixture,
  replay,
  startCollector,
  tableRows,
  type Fixture,
  type RunningCollector,
} from './fixtures.ts';

const ROWS = 150;
const CHUNK = 12;
const KEY_BYTES = (n: string): string =>
  `CONCAT(CHAR(${n} % 7 * 40), ELT(1 + ${n} % 4, '', ' ', '\\0', 'a'), ${n})`;
const KEY_MOMENT = (n: string): string =>
  `'2020-01-01' + INTERVAL ${n} % 9 DAY, '2021-06-01' + INTERVAL ${n} * 1500 MICROSECOND, ` +
  `CHAR(${n}, ${n} % 3)`;

/**
 * A source whose commits take long to be shown: each snapshot is as of when the one before it was asked for.
 * It commits once more whenever one is asked for.
 */
function showsLate(engine: SqlEngine, commit: () => Promise<void>): SqlEngine {
  let late: SqlConnection | undefined;
  const begin = async (options: Parameters<SqlEngine['connect']>[0]): Promise<SqlConnection> => {
    const connection = await engine.connect(options);
    await connection.begin('snapshot');
    return connection;
  };
  return {
    kind: engine.kind,
    dialect: engine.dialect,
    endpoints: engine.endpoints,
    use: (purpose, work, signal) => engine.use(purpose, work, signal),
    read: (purpose, work, signal) => engine.read(purpose, work, signal),
    kill: (id) => engine.kill(id),
    close: () => engine.close(),
    connect: async (options) => {
      if (options.purpose !== 'snapshot') return await engine.connect(options);
      const given = late ?? (await begin(options));
      late = await begin(options);
      await commit();
      return {
        id: given.id,
        begin: () => Promise.resolve(),
        query: (sql, params) => given.query(sql, params),
        batch: (statements) => given.batch(statements),
        later: (sql, params) => given.later(sql, params),
        stream: (...asked) => given.stream(...asked),
        insertRows: (table, columns, rows) => given.insertRows(table, columns, rows),
        commit: () => given.commit(),
        rollback: () => given.rollback(),
        close: () => given.close(),
        destroy: () => {
          given.destroy();
        },
      };
    },
  };
}

describe.skipIf(mariadbMissing())('a snapshot in chunks, MariaDB', () => {
  let fixture: Fixture;
  let source: CompiledSource;
  let log: SealLog;
  let collector: RunningCollector | undefined;
  let writing: Promise<void> = Promise.resolve();
  let write = true;

  beforeEach(async () => {
    fixture = await openFixture('mysql');
    const rows = Array.from({ length: ROWS }, (_, at) => `(${at % 7}, ${at}, 1)`).join(', ');
    await fixture.exec(
      'CREATE TABLE big (a BIGINT NOT NULL, b BIGINT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (a, b))',
      'CREATE TABLE name (code VARCHAR(10) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)',
      'CREATE TABLE last (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)',
      'CREATE TABLE bytes (k VARBINARY(4) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)',
      `CREATE TABLE moment (day DATE NOT NULL, at TIMESTAMP(3) NOT NULL, b BINARY(2) NOT NULL,
         n BIGINT NOT NULL, PRIMARY KEY (day, at, b))`,
      `INSERT INTO big VALUES ${rows}`,
      "INSERT INTO name VALUES ('a', 1), ('B', 2), ('c', 3)",
      `INSERT INTO last (id, n) SELECT b, n FROM big WHERE b < 60`,
      // Blanks and zero bytes at the end, and bytes above any letter.
      `INSERT INTO bytes SELECT ${KEY_BYTES('b')}, n FROM big WHERE b < 50`,
      `INSERT INTO moment SELECT ${KEY_MOMENT('b')}, n FROM big WHERE b < 50`,
    );
    source = await compile(fixture, ['big', 'name', 'bytes', 'moment', 'last']);
    log = new SealLog();
    write = true;
  });

  afterEach(async () => {
    write = false;
    await writing;
    disarmFailpoint('collector.beforeSeal');
    await endCollectors([collector], () => fixture.close());
  });

  /** Updates, key changes, deletions and insertions all over the tables. */
  const churn = async (): Promise<void> => {
    for (let next = 1; write; next += 1) {
      const [b, to] = [(next * 31) % ROWS, (next * 17) % 7];
      await fixture.transaction(
        [
          `UPDATE big SET n = n + 1 WHERE b = ${b}`,
          `UPDATE big SET a = ${to} WHERE b = ${(next * 13) % ROWS}`,
          `DELETE FROM big WHERE b = ${(next * 7) % ROWS} AND n > 3`,
          `UPDATE name SET n = ${next} WHERE code = 'B'`,
          `UPDATE last SET n = n + ${next} WHERE id = ${next % 60}`,
          `INSERT INTO big VALUES (${to}, ${ROWS + next}, 1)`,
          `UPDATE bytes SET n = n + 1 WHERE k = ${KEY_BYTES(String((next * 7) % 50))}`,
          `UPDATE IGNORE bytes SET k = CONCAT(LEFT(k, 3), 'z') WHERE n = ${next % 5}`,
          `UPDATE IGNORE moment SET at = at + INTERVAL 1000 MICROSECOND WHERE n = ${next % 5}`,
          `DELETE FROM moment WHERE b = ${next % 50} AND n > 1`,
        ],
        next % 9 === 0 ? 'rollback' : 'commit',
      );
      if (next % 3 > 0) continue;
      // Three to a window: writers without a pause leave a busy machine to nobody else.
      const sealed = log.windows.length;
      await eventually(() => !write || log.windows.length > sealed, { withinMs: 20_000, everyMs: 5 });
    }
  };

  const start = (): RunningCollector => startCollector(fixture, source, log, { chunkRows: CHUNK });

  const expectSame = async (): Promise<void> => {
    const now = Date.now();
    await eventually(() => Number(log.windows.at(-1)?.coversMs ?? 0) > now + 1, { withinMs: 20_000 });
    for (const { table } of source.tables) {
      expect(await replay(fixture, source, table, log.windows)).toEqual(
        await tableRows(fixture, source, table),
      );
    }
  };

  it('sums up to the tables, which change all the while', async () => {
    writing = churn();
    collector = start();
    await eventually(() => log.cursors.includes(''), { withinMs: 20_000 });
    write = false;
    await writing;
    await expectSame();
    const chunked = log.cursors.indexOf('');
    expect(chunked).toBeGreaterThan(4);
    // Nothing is complete before all is copied.
    expect(log.windows.slice(0, chunked).every(({ coversMs }) => coversMs === 0n)).toBe(true);
  });

  it('comes to its end while tables are written that are not captured', async () => {
    await fixture.exec('CREATE TABLE beside (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)');
    await fixture.exec('INSERT INTO beside VALUES (1, 0)');
    const busy = Array.from({ length: 3 }, async () => {
      while (write) await fixture.exec('UPDATE beside SET n = n + 1');
    });
    writing = Promise.all(busy).then(() => undefined);
    collector = start();
    await eventually(() => log.cursors.includes(''), { withinMs: 20_000 });
    write = false;
    await writing;
    await expectSame();
  });

  const whileCommitsAreShownLate = async (): Promise<void> => {
    await fixture.exec('CREATE TABLE beside (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)');
    await fixture.exec('INSERT INTO beside VALUES (1, 0)');
    const steps: string[] = [];
    const late = showsLate(fixture.source, () => {
      steps.push('opened');
      return fixture.exec('UPDATE beside SET n = n + 1');
    });
    const note = (_: unknown, message: string): void => {
      if (message.startsWith('a chunk is older')) steps.push('older');
    };
    collector = startCollector({ ...fixture, source: late }, source, log, {
      chunkRows: CHUNK,
      log: { info: note, warn: () => undefined },
    });
    const again = (): boolean => steps.join().includes('older,opened,older');
    await eventually(() => again() || log.cursors.includes(''), { withinMs: 20_000 });
    await collector.stop();
    expect([steps.includes('older'), again()]).toEqual([true, false]);
  };
  rule(
    'collector.readsOnAfterOlderChunk',
    'opens a chunk that was older than the log once more, and not for ever',
    whileCommitsAreShownLate,
  );

  it('goes on from the cursor of the last seal when its collectors are killed', async () => {
    writing = churn();
    let killed = 0;
    while (killed < 6) {
      const sealed = log.windows.length;
      collector = start();
      await eventually(() => log.windows.length > sealed, { withinMs: 20_000 });
      armFailpoint({ name: 'collector.beforeSeal', action: 'error' });
      await expect(collector.ended).rejects.toMatchObject({ code: 'INTERNAL' });
      disarmFailpoint('collector.beforeSeal');
      killed += 1;
    }
    expect(log.cursors.at(-1)).not.toBe('');
    collector = start();
    await eventually(() => log.cursors.includes(''), { withinMs: 20_000 });
    write = false;
    await writing;
    await expectSame();
    const tables = log.cursors.map((cursor) =>
      cursor === '' ? '' : (JSON.parse(cursor) as { table: string }).table,
    );
    expect([...new Set(tables)]).toEqual(['big', 'bytes', 'moment', 'last', '']);
  });
});

describe('a snapshot of an embedded source', () => {
  it('is one chunk: its log tells the end of several transactions at once', async () => {
    const fixture = await openFixture('embedded');
    await fixture.exec(
      'CREATE TABLE big (id BIGINT NOT NULL PRIMARY KEY)',
      'INSERT INTO big VALUES (1), (2), (3)',
    );
    const log = new SealLog();
    const collector = startCollector(fixture, await compile(fixture, ['big']), log, { chunkRows: 1 });
    await eventually(() => log.windows.length > 0, { withinMs: 15_000 });
    await collector.stop();
    expect(log.windows[0]?.shards[0]?.rows).toBe(3n);
    expect(log.cursors[0]).toBe('');
    await fixture.close();
  });
});
