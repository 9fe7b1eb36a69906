/** Tables that are added to a source whose windows are sealed, while it changes, on MariaDB. */
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { armFailpoint, disarmFailpoint } from '../../src/base/test-build-active.ts';
import { cursorText, type CompiledSource } from '../../src/job/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import {
  compile,
  endCollectors,
  openFixture,
  replay,
  SealLog,
  startCollector,
  tableRows,
  type Fixture,
  type RunningCollector,
} from './fixtures.ts';

const ROWS = 40;
const BEGINS = cursorText({ table: 'more', key: [] });

describe.skipIf(mariadbMissing())('tables that are added to a captured source', () => {
  let fixture: Fixture;
  let log: SealLog;
  let collector: RunningCollector | undefined;
  let writing: Promise<void> = Promise.resolve();
  let write = false;

  const begin = async (): Promise<void> => {
    fixture = await openFixture('mysql');
    log = new SealLog();
    await fixture.exec(
      'CREATE TABLE first (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)',
      `INSERT INTO first SELECT seq, 1 FROM seq_1_to_${ROWS}`,
    );
    collector = startCollector(fixture, await compile(fixture, ['first']), log);
    await eventually(() => log.windows.length > 1, { withinMs: 20_000 });
    await collector.stop();
  };
  const end = async (): Promise<void> => {
    write = false;
    await writing;
    disarmFailpoint('collector.beforeSeal');
    await endCollectors([collector], () => fixture.close());
  };

  beforeEach(begin);
  afterEach(end);

  const churn = async (): Promise<void> => {
    for (let next = 1; write; next += 1) {
      const id = (next * 7) % ROWS;
      await fixture.transaction([
        `UPDATE first SET n = n + 1 WHERE id = ${id}`,
        `UPDATE more SET n = n + 1 WHERE id = ${(next * 11) % ROWS}`,
        `DELETE FROM more WHERE id = ${(next * 13) % ROWS} AND n > 3`,
        `INSERT INTO more (id, n) VALUES (${ROWS + next}, ${next})`,
      ]);
      if (next % 3 > 0) continue;
      const sealed = log.windows.length;
      await eventually(() => !write || log.windows.length > sealed, { withinMs: 20_000, everyMs: 5 });
    }
  };

  /** What the log has of a table before it is declared, and of the one beside it. */
  const past = async (): Promise<void> => {
    await fixture.exec(
      'UPDATE first SET n = 2',
      'CREATE TABLE more (id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL)',
      `INSERT INTO more SELECT seq, 1 FROM seq_1_to_${ROWS}`,
      'ALTER TABLE first ADD COLUMN later BIGINT',
      'ALTER TABLE more MODIFY COLUMN n BIGINT NOT NULL, ADD COLUMN later BIGINT',
      'UPDATE more SET later = id',
    );
  };
  /** As the log has it: the former table as it was, the new one as it is when it is declared. */
  const declared = async (before: CompiledSource): Promise<CompiledSource> => {
    const now = await compile(fixture, ['first', 'more']);
    return { ...now, tables: [...before.tables, ...now.tables.slice(1)] };
  };

  const copied = async (source: CompiledSource, kills: number): Promise<void> => {
    const from = log.windows.length;
    const options = { formerTables: 1, chunkRows: 15 };
    const start = (): RunningCollector => {
      const cursor = log.windows.length === from ? BEGINS : (log.cursors.at(-1) ?? '');
      return startCollector(fixture, source, log, { ...options, cursor });
    };
    write = true;
    writing = churn();
    for (let killed = 0; killed < kills; killed += 1) {
      const sealed = log.windows.length;
      collector = start();
      const goesOn = eventually(() => log.windows.length > sealed + 1, { withinMs: 20_000 });
      await Promise.race([goesOn, collector.ended]);
      armFailpoint({ name: 'collector.beforeSeal', action: 'error' });
      await expect(collector.ended).rejects.toMatchObject({ code: 'INTERNAL' });
      disarmFailpoint('collector.beforeSeal');
    }
    const ended = (): boolean => log.windows.length > from && log.cursors.at(-1) === '';
    if (!ended()) collector = start();
    await Promise.race([eventually(ended, { withinMs: 20_000 }), collector?.ended]);
    write = false;
    await writing;
    const now = Date.now();
    await eventually(() => Number(log.windows.at(-1)?.coversMs ?? 0) > now + 1, { withinMs: 20_000 });
    for (const table of ['first', 'more']) {
      const whole = log.source ?? source;
      // Rows of the first windows have no other columns.
      const tables = whole.tables.map((one) =>
        one.table === 'first' ? { ...one, columns: one.columns.slice(0, 2) } : one,
      );
      const windows = log.windows.filter(({ schemaVersions }) =>
        schemaVersions.some((version) => version.table === table),
      );
      const found = await replay(fixture, { ...whole, tables }, table, windows);
      expect(found, table).toEqual(await tableRows(fixture, { ...whole, tables }, table));
    }
    // What was captured before is complete up to moments meanwhile too.
    const meanwhile = log.windows.slice(from, log.cursors.indexOf('', from));
    expect(meanwhile.some(({ coversMs }) => coversMs > 0n)).toBe(true);
    expect(log.cursors[from]).toBe(BEGINS);
    expect(log.windows[from]?.schemaVersions.map(({ table }) => table)).toEqual(['first']);
  };

  rule(
    'collector.addedTablesFromTheirPast',
    'are copied in chunks inside the chain, by collectors that are killed; what the log told of them is past',
    async () => {
      const before = await compile(fixture, ['first']);
      await past();
      await copied(await declared(before), 1);
    },
  );

  rule(
    'collector.addedTablesAsDeclared',
    'are as they are where they begin, though they were altered since they were declared',
    async () => {
      const before = await compile(fixture, ['first']);
      await past();
      const source = await declared(before);
      await fixture.exec('ALTER TABLE more ADD COLUMN latest BIGINT DEFAULT 5', 'UPDATE more SET latest = 7');
      await copied(source, 0);
      expect(log.changes.map(({ after }) => `${after.table} ${after.schemaVersion}`)).toEqual([
        'first 2',
        'more 2',
      ]);
    },
  );
});
