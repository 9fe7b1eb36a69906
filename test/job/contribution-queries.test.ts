import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setMutation } from '../../src/base/test-build-active.ts';
import {
  changeTable,
  checkReport,
  contributionQueries,
  dimensionTable,
  readRows,
  type CapturedTable,
  type CompiledReport,
  type ContributionQuery,
  type WindowRef,
} from '../../src/job/index.ts';
import type { SqlEngine, SqlParam, SqlValue } from '../../src/sql/index.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { freshEngine, type FreshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { computeNaively, ITEM_ROWS, LINES, SHOP_ROWS, STATEMENT, type Line } from './statement-report.ts';

const SOURCE = 4;
const PREPARED = (9_000_000n << 40n) | 7n;
const EPOCH = (8_000_000n << 40n) | 1n;
const DEPOSED = EPOCH - 1n;
const LATER = EPOCH + 5n;

/** A small random stream (mulberry32), so that a failure can be seen again. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function randomLines(seed: number, count: number): Line[] {
  const random = randomFrom(seed);
  const notes = [null, 'a', 'A', 'a ', 'ß', 'question?'];
  return Array.from({ length: count }, () => ({
    shop: BigInt(1 + random(4)),
    item: BigInt(1 + random(3)),
    quantity: BigInt(random(4)),
    price: random(20) === 0 ? 2n ** 53n + BigInt(random(1000)) : BigInt(random(4000)),
    discount: random(3) === 0 ? null : BigInt(random(300)),
    note: notes[random(notes.length)] ?? null,
    createdMs: 1_760_000_000_000n + BigInt(random(200_000_000)),
    weight: random(3) === 0 ? -1n : 1n,
  }));
}

interface Place {
  readonly epoch: bigint;
  readonly day: string;
  readonly window: number;
}

function suite(open: () => Promise<FreshEngine>): void {
  let engine: SqlEngine;
  let close: () => Promise<void>;
  let nextRow = 0n;
  const run = (sql: string, params: readonly SqlParam[] = []) =>
    engine.use('test', (connection) => connection.query(sql, params));
  const create = async (table: string, columns: CapturedTable['columns'], before = ''): Promise<void> => {
    const { dialect } = engine;
    const list = columns
      .map(({ name, type }) => `${dialect.id(name)} ${dialect.columnType(type)}`)
      .join(', ');
    await run(`CREATE TABLE ${dialect.id(table)} (${before}${list})`);
  };
  const insertLines = async (place: Place, lines: readonly Line[]): Promise<void> => {
    const table = changeTable({ sourceId: SOURCE, table: 'lines', schemaVersion: 3 });
    const columns = [
      '_source',
      '_epoch',
      '_day',
      '_window',
      '_n',
      '_w',
      ...LINES.columns.map(({ name }) => name),
    ];
    const rows = lines.map((line, at): SqlParam[] => {
      nextRow += 1n;
      const values = [
        line.shop,
        line.item,
        line.quantity,
        line.price,
        line.discount,
        line.note,
        line.createdMs,
      ];
      return [SOURCE, place.epoch, place.day, place.window, at, line.weight, nextRow, ...values];
    });
    await engine.use('test', (connection) => connection.insertRows(table, columns, rows));
  };
  const queriesOf = (report: CompiledReport, windows: readonly WindowRef[]) =>
    contributionQueries({
      dialect: engine.dialect,
      report,
      sourceId: SOURCE,
      tables: [LINES],
      of: { windows },
      prepared: PREPARED,
    });
  const rowsOf = async (query: ContributionQuery): Promise<readonly (readonly SqlValue[])[]> =>
    readRows(query, await run(query.sql, query.params));

  beforeAll(async () => {
    ({ engine, close } = await open());
    const own = '_source BIGINT, _epoch BIGINT, _day DATE, _window BIGINT, _n BIGINT, _w BIGINT, ';
    await create(changeTable({ sourceId: SOURCE, table: 'lines', schemaVersion: 3 }), LINES.columns, own);
    for (const input of STATEMENT.inputs) {
      if (input.kind !== 'dimension') continue;
      const copy = dimensionTable({ sourceId: SOURCE, table: input.table, prepared: PREPARED });
      await create(copy, input.columns);
      await create(input.table, input.columns);
      const values = input.table === 'shops' ? SHOP_ROWS : ITEM_ROWS;
      await engine.use('test', (connection) =>
        connection.insertRows(
          copy,
          input.columns.map(({ name }) => name),
          values.map((row): SqlParam[] => Object.values(row)),
        ),
      );
    }
    await create('lines', LINES.columns);
  });
  afterAll(() => close());

  const day = '2026-11-20';
  const places = [
    { epoch: EPOCH, day, window: 11 },
    { epoch: EPOCH, day, window: 12 },
    { epoch: EPOCH, day: '2026-11-21', window: 13 },
    { epoch: LATER, day: '2026-11-21', window: 14 },
  ];
  const lines = places.map((_place, at) => randomLines(at + 1, 250));
  const compute = async () => {
    const { additive, multisets } = queriesOf(STATEMENT, places);
    expect(multisets.map((multiset) => multiset.measure)).toEqual([4, 5]);
    const [notes, largest] = await Promise.all(multisets.map(rowsOf));
    return {
      additive: toMap(await rowsOf(additive), 5),
      notes: toWeights(notes ?? []),
      largest: toWeights(largest ?? []),
    };
  };

  it('computes a report of a hundred lines as a naive program does', async () => {
    expect(STATEMENT.sql.split('\n').length).toBeGreaterThan(100);
    for (const [at, place] of places.entries()) await insertLines(place, lines[at] ?? []);
    // None of these belongs to the span: a deposed collector's, other windows', another day's rows.
    await insertLines({ epoch: DEPOSED, day, window: 12 }, randomLines(7, 20));
    await insertLines({ epoch: EPOCH, day, window: 10 }, randomLines(8, 20));
    await insertLines({ epoch: EPOCH, day: '2026-11-21', window: 14 }, randomLines(9, 20));

    const expected = computeNaively(lines.flat());
    expect(await compute()).toEqual(expected);
    expect(expected.additive.size).toBeGreaterThan(50);
    expect([...expected.additive.values()].some(([, , , sum]) => (sum ?? 0n) > 2n ** 53n)).toBe(true);
  });

  it.each(['job.rowsOfAnyEpoch', 'job.textKeysNotBytes'] as const)('would notice %s', async (rule) => {
    setMutation(rule, true);
    const broken = await compute().finally(() => {
      setMutation(rule, false);
    });
    // SQLite compares text byte by byte anyway.
    if (engine.kind === 'embedded' && rule === 'job.textKeysNotBytes') return;
    expect(broken).not.toEqual(computeNaively(lines.flat()));
  });

  it('adds up over windows to what it gives for them together', async () => {
    const windows = [11, 12].map((window) => ({ epoch: EPOCH, day: '2026-11-20', window }));
    const whole = toMap(await rowsOf(queriesOf(STATEMENT, windows).additive), 5);
    const parts = new Map<string, readonly bigint[]>();
    for (const window of windows) {
      for (const [at, row] of toMap(await rowsOf(queriesOf(STATEMENT, [window]).additive), 5)) {
        const before = parts.get(at) ?? row.map(() => 0n);
        parts.set(
          at,
          row.map((value, index) => value + (before[index] ?? 0n)),
        );
      }
    }
    expect(parts).toEqual(whole);
  });

  it('gives nothing for a window without rows', async () => {
    const { additive, multisets } = queriesOf(STATEMENT, [{ epoch: EPOCH, day: '2026-11-20', window: 99 }]);
    for (const query of [additive, ...multisets]) expect(await rowsOf(query)).toEqual([]);
  });

  const simple = (change: Partial<CompiledReport>): CompiledReport => ({
    ...STATEMENT,
    name: 'simple',
    keys: [{ name: 'shop_id', type: 'BIGINT', nullable: false }],
    measures: [{ name: 'amount', kind: 'sum', type: 'BIGINT' }],
    sql: 'SELECT shop_id, price AS amount, _w FROM l',
    ...change,
  });

  it.each([false, true])('rounds decimals before it sums them (sums instead: %s)', async (broken) => {
    if (engine.kind === 'embedded') return;
    const report = simple({
      measures: [{ name: 'amount', kind: 'sum', type: 'DECIMAL(20,2)' }],
      sql: 'SELECT shop_id, price * 0.0015 AS amount, _w FROM l',
    });
    const sumsOf = async (windows: readonly WindowRef[]): Promise<bigint> => {
      const rows = await rowsOf(queriesOf(report, windows).additive);
      return rows.reduce((sum, row) => sum + BigInt(text(row[2]).replace('.', '')), 0n);
    };
    setMutation('job.roundSumsNotValues', broken);
    try {
      let parts = 0n;
      for (const place of places) parts += await sumsOf([place]);
      expect(parts === (await sumsOf(places))).toBe(!broken);
    } finally {
      setMutation('job.roundSumsNotValues', false);
    }
  });

  it('refuses a key that is NULL', async () => {
    const report = simple({
      sql: 'SELECT CASE WHEN shop_id > 1 THEN shop_id END AS shop_id, price AS amount, _w FROM l',
    });
    const { additive } = queriesOf(report, [{ epoch: EPOCH, day: '2026-11-20', window: 11 }]);
    expect(await codeOf(rowsOf(additive))).toBe('KEY_NULL');
  });

  it('passes the check of a connected source without effect', async () => {
    const before = (await run('SELECT COUNT(*) FROM `lines`')).rows;
    await engine.use('test', (connection) =>
      checkReport({ connection, dialect: engine.dialect, report: STATEMENT, tables: [LINES] }),
    );
    expect((await run('SELECT COUNT(*) FROM `lines`')).rows).toEqual(before);
  });

  it.each([
    ['SELECT shop_id, price AS amount FROM l', 'SQL_COLUMNS', 'does not return _w'],
    ['SELECT shop_id, price AS amuont, _w FROM l', 'SQL_COLUMNS', 'returns amuont, which is neither'],
    ['SELECT shop_id, cost AS amount, _w FROM l', 'SQL_INVALID', 'report simple'],
    ['SELECT shop_id, no_such(price) AS amount, _w FROM l', 'SQL_INVALID', 'report simple'],
    ['SELECT shop_id price AS amount, _w FROM l', 'SQL_INVALID', 'report simple'],
    ['SELECT shop_id, note AS amount, _w FROM l', 'MEASURE_TYPE', 'amount is declared BIGINT'],
    ['SELECT note AS shop_id, price AS amount, _w FROM l', 'MEASURE_TYPE', 'shop_id is declared BIGINT'],
  ])('refuses %s', async (sql, code, message) => {
    const checking = engine.use('test', (connection) =>
      checkReport({ connection, dialect: engine.dialect, report: simple({ sql }), tables: [LINES] }),
    );
    await expect(checking).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    });
  });

  it('refuses a column that is returned twice', async () => {
    const report = simple({ sql: 'SELECT shop_id, price AS amount, _w, _w FROM l' });
    const check = engine.use('test', (connection) =>
      checkReport({ connection, dialect: engine.dialect, report, tables: [LINES] }),
    );
    // MySQL refuses it by itself, SQLite gives the second one another name.
    expect(await codeOf(check)).toBe(engine.kind === 'mysql' ? 'SQL_INVALID' : 'SQL_COLUMNS');
  });

  it('lets an alias be the name of a table, its own or another one', async () => {
    const shops = STATEMENT.inputs[1];
    const report = simple({
      inputs: [
        ...(shops === undefined ? [] : [{ ...shops, alias: 'lines' }]),
        { alias: 'shops', kind: 'changes', table: 'lines' },
      ],
      sql: 'SELECT s.shop_id, price AS amount, _w FROM shops AS s JOIN `lines` AS d ON d.shop_id = s.shop_id',
    });
    const check = engine.use('test', (connection) =>
      checkReport({ connection, dialect: engine.dialect, report, tables: [LINES] }),
    );
    expect(await codeOf(check)).toBe('no error');
  });

  it('refuses sums that are not exact, when checked or when read', async () => {
    const report = simple({ sql: 'SELECT shop_id, price * 0.5e0 AS amount, _w FROM l' });
    const check = engine.use('test', (connection) =>
      checkReport({ connection, dialect: engine.dialect, report, tables: [LINES] }),
    );
    const { additive } = queriesOf(report, [{ epoch: EPOCH, day: '2026-11-20', window: 11 }]);
    // SQLite knows the type of an expression only when it has a value.
    if (engine.kind === 'mysql') expect(await codeOf(check)).toBe('MEASURE_TYPE');
    else expect([await codeOf(check), await codeOf(rowsOf(additive))]).toEqual(['no error', 'MEASURE_TYPE']);
  });
}

function text(value: SqlValue | undefined): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
}

function toMap(rows: readonly (readonly SqlValue[])[], keys: number): Map<string, bigint[]> {
  return new Map(
    rows.map((row) => [row.slice(0, keys).map(text).join('|'), row.slice(keys).map((v) => BigInt(text(v)))]),
  );
}

function toWeights(rows: readonly (readonly SqlValue[])[]): Map<string, bigint> {
  return new Map(rows.map((row) => [row.slice(0, -1).map(text).join('|'), row.at(-1) as bigint]));
}

describe('contribution queries on the embedded engine', () => {
  suite(() => freshEngine('embedded', 'job'));
});

describe.skipIf(mariadbMissing())('contribution queries on MariaDB', () => {
  suite(() => freshEngine('mysql', 'job'));
});
