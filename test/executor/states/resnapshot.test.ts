/**
 * Re-snapshots over row states, on MariaDB with two store shards: what lies between the two ends of the log
 * was never seen. Told by plain SQL: rows of all sealed windows, and open row versions, against the tables.
 */
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { armFailpoint, disarmFailpoint, setMutation } from '../../../src/base/test-build-active.ts';
import { asToken } from '../../../src/base/index.ts';
import { advanceStates, createStateTables, openRowStates } from '../../../src/executor/states/index.ts';
import { stateTable, type CapturedTable, type CompiledSource } from '../../../src/job/index.ts';
import {
  SOURCE_ID,
  SealLog,
  compile,
  endCollectors,
  openFixture,
  rowText,
  startCollector,
  tableRows,
  windowRows,
  type Fixture,
  type RunningCollector,
} from '../../collector/fixtures.ts';
import { eventually } from '../../support/eventually.ts';
import type { SqlEngine } from '../../../src/sql/index.ts';
import { mariadbMissing } from '../../support/mariadb.ts';
import { rule } from '../../support/rule.ts';

const ROWS = 60;
const CHUNK = 12;
const TOKEN = asToken((50_000n << 40n) + 7n);

class Shop {
  readonly log = new SealLog();
  readonly #versions: CapturedTable[] = [];
  readonly #over = new AbortController();
  readonly fixture: Fixture;
  readonly source: CompiledSource;
  collector: RunningCollector | undefined;
  #advancing: Promise<void> = Promise.resolve();

  constructor(fixture: Fixture, source: CompiledSource) {
    this.fixture = fixture;
    this.source = source;
  }

  static async open(): Promise<Shop> {
    const fixture = await openFixture('mysql', 2);
    const rows = Array.from({ length: ROWS }, (_, at) => `(${at % 7}, ${at}, 1)`).join(', ');
    await fixture.exec(
      'CREATE TABLE big (a BIGINT NOT NULL, b BIGINT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (a, b))',
      'CREATE TABLE gone (id VARBINARY(8) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)',
      'CREATE TABLE name (code VARCHAR(10) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)',
      'CREATE TABLE last (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, note VARCHAR(8))',
      `INSERT INTO big VALUES ${rows}`,
      "INSERT INTO gone VALUES ('a', 1), ('a ', 2), ('a\\0', 3)",
      "INSERT INTO name VALUES ('a', 1), ('B', 2), ('c ', 3)",
      "INSERT INTO last (id, n, note) SELECT b, n, CONCAT('n', b) FROM big WHERE b < 30",
    );
    const compiled = await compile(fixture, ['big', 'gone', 'name', 'last']);
    const keys: Record<string, string> = { big: 'b', last: 'id', gone: 'id' };
    const tables = compiled.tables.map((table) => ({ ...table, shardKey: keys[table.table] ?? null }));
    const source = { ...compiled, tables };
    for (const store of fixture.stores) await createStateTables(store, SOURCE_ID, source);
    return new Shop(fixture, source);
  }

  get current(): CompiledSource {
    return this.log.source ?? this.source;
  }

  async close(): Promise<void> {
    this.#over.abort();
    await this.#advancing;
    disarmFailpoint('collector.beforeSeal');
    await endCollectors([this.collector], () => this.fixture.close());
  }

  start(again?: 'begins' | 'goes on'): RunningCollector {
    const { fixture, log } = this;
    const shards = new Map(fixture.stores.map((store, at) => [`s${at}`, store]));
    const rowStates = openRowStates({ sourceId: SOURCE_ID, source: this.current, formerChains: [], shards });
    const begins = again === 'begins' ? { cursor: '' } : {};
    const more = again === undefined ? {} : { rowStates, ...begins };
    this.collector = startCollector(fixture, this.source, log, { chunkRows: CHUNK, ...more });
    return this.collector;
  }

  /** Until all is copied by windows from `first` on. */
  async copied(first: number): Promise<void> {
    const { log } = this;
    await eventually(() => log.cursors.slice(first).includes(''), { withinMs: 20_000, everyMs: 5 });
    await this.collector?.stop();
  }

  /** Takes the row states of both shards to the last sealed window. */
  async advance(): Promise<void> {
    const { fixture, log, source } = this;
    this.#versions.splice(0, Infinity, ...source.tables, ...log.changes.map(({ after }) => after));
    const windows = [...log.windows];
    for (const [at, engine] of fixture.stores.entries()) {
      await advanceStates(engine, {
        sourceId: SOURCE_ID,
        source: this.current,
        captured: (table, version) => {
          const found = this.#versions.find((one) => one.table === table && one.schemaVersion === version);
          if (found === undefined) throw new Error(`no version ${version} of ${table}`);
          return found;
        },
        shard: `s${at}`,
        windows,
        token: TOKEN,
        marker: 'test',
        formerChains: [],
        signal: new AbortController().signal,
      });
    }
  }

  /** Takes them there after each window; looking without a pause took the processor from the collector. */
  keepAdvancing(): void {
    const { log } = this;
    this.#advancing = (async () => {
      let advanced = 0;
      while (!this.#over.signal.aborted) {
        await eventually(() => this.#over.signal.aborted || log.windows.length > advanced, {
          withinMs: 60_000,
        });
        advanced = log.windows.length;
        await this.advance();
      }
    })();
  }

  async firstSnapshot(): Promise<void> {
    this.start();
    await this.copied(0);
    await this.advance();
  }

  /** What no collector sees: rows that come, change, move and go, the first and the last of tables too. */
  gap(): Promise<void> {
    return this.fixture.transaction([
      'DELETE FROM big WHERE a = 0 OR a = 6 OR b % 5 = 0',
      'UPDATE big SET n = n + 5 WHERE b % 3 = 0',
      'UPDATE big SET a = a + 100 WHERE b % 11 = 0',
      'INSERT INTO big (a, b, n) VALUES (0, 1000, 9), (50, 1001, 9), (200, 1002, 9)',
      'DELETE FROM gone',
      "DELETE FROM name WHERE code = 'a'",
      "INSERT INTO name VALUES ('d', 4)",
      "UPDATE name SET n = 7 WHERE code = 'c '",
      'DELETE FROM last WHERE id > 20 OR id < 3',
    ]);
  }

  async expectSame(): Promise<void> {
    const { fixture, source, log } = this;
    for (const { table, shardKey } of source.tables) {
      for (const stores of this.#wholes(shardKey)) {
        const net = new Map<string, number>();
        for (const store of stores) {
          for (const window of log.windows) {
            for (const [weight, ...row] of await windowRows(fixture, source, table, window, store)) {
              const sum = (net.get(rowText(row)) ?? 0) + Number(weight);
              if (sum === 0) net.delete(rowText(row));
              else net.set(rowText(row), sum);
            }
          }
        }
        expect(net).toEqual(await tableRows(fixture, source, table));
      }
    }
    await this.expectStates();
  }

  /** Stores that have all of a table's rows: all together, or each for itself if it is replicated. */
  #wholes(shardKey: string | null): readonly (readonly SqlEngine[])[] {
    const { stores } = this.fixture;
    return shardKey === null ? stores.map((store) => [store]) : [stores];
  }

  /** Open row versions are the rows of the table. */
  async expectStates(): Promise<void> {
    const { fixture, current } = this;
    for (const table of current.tables) {
      const name = stateTable({ sourceId: SOURCE_ID, ...table });
      const columns = table.columns.map((column) => `\`${column.name}\``).join(', ');
      for (const stores of this.#wholes(table.shardKey)) {
        const open: [string, number][] = [];
        for (const store of stores) {
          await store.use('test', async (connection) => {
            const { rows } = await connection.query(
              `SELECT ${columns} FROM \`${name}\` WHERE _to = ${Number.MAX_SAFE_INTEGER}`,
            );
            open.push(...rows.map((row): [string, number] => [rowText(row), 1]));
          });
        }
        expect(new Map(open)).toEqual(await tableRows(fixture, current, table.table));
      }
    }
  }
}

describe.skipIf(mariadbMissing())('a re-snapshot', () => {
  let shop: Shop | undefined;

  const opened = async (): Promise<Shop> => {
    await shop?.close();
    shop = await Shop.open();
    return shop;
  };

  afterEach(async () => {
    await shop?.close();
    shop = undefined;
  });

  const afterGap = async (): Promise<void> => {
    const made = await opened();
    await made.firstSnapshot();
    await made.gap();
    const first = made.log.windows.length;
    const collector = made.start('begins');
    // Row states are late: they come when the collector waits for them already.
    await eventually(() => made.log.windows.length > first, { withinMs: 15_000 });
    made.keepAdvancing();
    await Promise.race([made.copied(first), collector.ended]);
    const again = made.log.cursors.indexOf('', first);
    expect(again).toBeGreaterThan(first + 2);
    // Nothing is complete before all is compared; the chain has no gap.
    expect(made.log.windows.slice(first, again).every(({ coversMs }) => coversMs === 0n)).toBe(true);
    expect(made.log.windows[first]?.from).toBe(made.log.windows[first - 1]?.to);
    await made.advance();
    await made.expectSame();
  };

  it('puts the tables in the place of the row states, which it waits for', afterGap);
  it.each(['collector.resnapshotAddsOnly', 'collector.resnapshotLeavesTail'] as const)(
    'is seen to fail with %s',
    async (mutation) => {
      setMutation(mutation, true);
      onTestFinished(() => {
        setMutation(mutation, false);
      });
      await expect(afterGap()).rejects.toThrow();
    },
  );

  it('goes on from its cursor when collectors are killed, while its tables change', async () => {
    const made = await opened();
    await made.firstSnapshot();
    await made.gap();
    const first = made.log.windows.length;
    made.keepAdvancing();
    let writes = true;
    const churn = (async () => {
      for (let next = 1; writes; next += 1) {
        await made.fixture.transaction([
          `UPDATE big SET n = n + 1 WHERE b = ${(next * 31) % ROWS}`,
          `UPDATE big SET a = ${(next * 17) % 7} WHERE b = ${(next * 13) % ROWS}`,
          `DELETE FROM big WHERE b = ${(next * 7) % ROWS} AND n > 3`,
          `INSERT INTO big VALUES (${(next * 5) % 90}, ${2_000 + next}, 1)`,
          `UPDATE name SET n = ${next} WHERE code = 'B'`,
          `INSERT INTO gone VALUES (CONCAT(CHAR(${next % 7} * 40), ${next}), ${next})`,
          `UPDATE last SET n = n + ${next} WHERE id = ${next % 30}`,
        ]);
        if (next % 3 > 0) continue;
        // Three to a window: writers without a pause leave a busy machine to nobody else.
        const sealed = made.log.windows.length;
        await eventually(() => !writes || made.log.windows.length > sealed, { withinMs: 20_000 });
      }
    })();
    for (let killed = 0; killed < 3; killed += 1) {
      const sealed = made.log.windows.length;
      const collector = made.start(killed === 0 ? 'begins' : 'goes on');
      await eventually(() => made.log.windows.length > sealed, { withinMs: 20_000, everyMs: 1 });
      armFailpoint({ name: 'collector.beforeSeal', action: 'error' });
      await expect(collector.ended).rejects.toMatchObject({ code: 'INTERNAL' });
      disarmFailpoint('collector.beforeSeal');
    }
    expect(made.log.cursors.at(-1)).not.toBe('');
    const before = made.log.windows.length;
    made.start('goes on');
    await eventually(() => made.log.cursors.slice(first).includes(''), { withinMs: 20_000, everyMs: 5 });
    writes = false;
    await churn;
    const now = Date.now();
    await eventually(() => Number(made.log.windows.at(-1)?.coversMs ?? 0) > now + 1, { withinMs: 20_000 });
    await made.collector?.stop();
    expect(made.log.windows.length).toBeGreaterThan(before);
    await made.advance();
    await made.expectSame();
  });

  const afterAlter = async (): Promise<void> => {
    const made = await opened();
    await made.firstSnapshot();
    await made.fixture.exec(
      'ALTER TABLE big ADD COLUMN more BIGINT NOT NULL DEFAULT 4',
      'ALTER TABLE last MODIFY COLUMN note VARCHAR(40)',
    );
    await made.gap();
    await made.fixture.exec('UPDATE big SET more = b', 'DELETE FROM big WHERE a < 2');
    const first = made.log.windows.length;
    made.keepAdvancing();
    made.start('begins');
    await eventually(() => made.log.windows.length > first + 2, { withinMs: 15_000, everyMs: 1 });
    await made.fixture.exec('ALTER TABLE big ADD COLUMN other BIGINT', 'UPDATE big SET other = b');
    const now = Date.now();
    await eventually(
      () => {
        const last = made.log.windows.at(-1);
        const named = last?.schemaVersions.find(({ table }) => table === 'big')?.version;
        return named === 3 && Number(last?.coversMs) > now + 1;
      },
      { withinMs: 20_000 },
    );
    await made.copied(first);
    await made.advance();
    await made.expectSame();
  };
  rule(
    'states.widerColumnsEmpty',
    'takes a table as it is now that was altered in the gap, and on the way',
    afterAlter,
  );
});
