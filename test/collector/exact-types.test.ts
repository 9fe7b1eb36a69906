/**
 * Every column type from the source through the binlog, and through a snapshot, into a change table: the
 * value there is the source's, bit by bit, as MariaDB itself shows it (decision 0011, types).
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { must, systemClock } from '../../src/base/index.ts';
import { setMutation } from '../../src/base/test-build-active.ts';
import type { RowValues } from '../../src/collector/change-source.ts';
import { inspectSource } from '../../src/collector/index.ts';
import { openChangeSource } from '../../src/collector/open-change-source.ts';
import { readTables } from '../../src/collector/snapshot/snapshot-rows.ts';
import { changeTable, type CompiledSource } from '../../src/job/index.ts';
import type { SqlValue } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
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

interface TypeCase {
  readonly type: string;
  /** Values as SQL. */
  readonly extremes: readonly string[];
  readonly random: (random: () => number) => string;
  /** How MariaDB shows each bit of the value; `?` stands for the column. */
  readonly show: string;
}

const NUMBER = 'CAST(? AS CHAR)';
const MOMENT = 'CAST(? AS CHAR)';
const TEXT = 'HEX(CONVERT(? USING utf8mb4))';
const BYTES = 'HEX(?)';
/** A FLOAT shown with the digits of a DOUBLE. */
const REAL = 'CAST(CAST(? AS DOUBLE) AS CHAR)';

const digits = (random: () => number, count: number): string =>
  Array.from({ length: count }, () => Math.floor(random() * 10)).join('');

const hexOf = (random: () => number, most: number): string =>
  Array.from({ length: Math.floor(random() * (most + 1)) }, () =>
    Math.floor(random() * 256)
      .toString(16)
      .padStart(2, '0'),
  ).join('');

function integer(type: string, bits: number): TypeCase[] {
  const half = 2n ** BigInt(bits - 1);
  const below = (limit: bigint, random: () => number): bigint => BigInt(digits(random, 20)) % limit;
  return [
    {
      type,
      extremes: [String(-half), String(half - 1n), '0', '-1'],
      random: (random) => String(below(2n * half, random) - half),
      show: NUMBER,
    },
    {
      type: `${type} UNSIGNED`,
      extremes: [String(2n * half - 1n), String(half), '0'],
      random: (random) => String(below(2n * half, random)),
      show: NUMBER,
    },
  ];
}

function decimal(precision: number, scale: number): TypeCase {
  const nines = `${'9'.repeat(precision - scale) || '0'}${scale > 0 ? `.${'9'.repeat(scale)}` : ''}`;
  const least = scale > 0 ? `0.${'0'.repeat(scale - 1)}1` : '1';
  return {
    type: `DECIMAL(${precision},${scale})`,
    extremes: [nines, `-${nines}`, least, `-${least}`, '0'],
    random: (random) => {
      const whole = digits(random, Math.floor(random() * (precision - scale + 1)));
      return `${random() < 0.5 ? '-' : ''}0${whole}.${digits(random, scale)}0`;
    },
    show: NUMBER,
  };
}

function real(type: 'FLOAT' | 'DOUBLE'): TypeCase {
  const extremes = {
    FLOAT: ['3.4028234663852886e38', '-1.401298464324817e-45', '16777217', '0.1', '-0e0', '8388609e0'],
    DOUBLE: ['1.7976931348623157e308', '5e-324', '9999999999999999', '9.999999999999999', '0.1', '-0e0'],
  };
  const view = new DataView(new ArrayBuffer(8));
  return {
    type,
    extremes: extremes[type],
    random: (random) => {
      for (;;) {
        for (let at = 0; at < 8; at += 1) view.setUint8(at, Math.floor(random() * 256));
        const value = type === 'FLOAT' ? view.getFloat32(0) : view.getFloat64(0);
        if (Number.isFinite(value)) return value.toExponential();
      }
    },
    show: REAL,
  };
}

const pick = <T>(random: () => number, from: readonly T[]): T =>
  from[Math.floor(random() * from.length)] as T;
const two = (random: () => number, below: number): string =>
  String(Math.floor(random() * below)).padStart(2, '0');
const clock = (random: () => number, fraction: number): string =>
  `${two(random, 60)}:${two(random, 60)}${fraction > 0 ? `.${digits(random, fraction)}` : ''}`;

function moments(fraction: number): TypeCase[] {
  const most = fraction > 0 ? `.${'9'.repeat(fraction)}` : '';
  const least = fraction > 0 ? `.${'0'.repeat(fraction - 1)}1` : '';
  const date = (random: () => number): string =>
    `${1000 + Math.floor(random() * 9000)}-${pick(random, ['01', '12'])}-${pick(random, ['01', '28'])}`;
  return [
    {
      type: `TIME(${fraction})`,
      extremes: [
        `'838:59:59'`,
        `'-838:59:59'`,
        `'00:00:00${least}'`,
        `'-00:00:00${least}'`,
        `'-00:00:01${most}'`,
      ],
      random: (random) =>
        `'${random() < 0.5 ? '-' : ''}${Math.floor(random() * 838)}:${clock(random, fraction)}'`,
      show: MOMENT,
    },
    {
      type: `DATETIME(${fraction})`,
      extremes: [`'9999-12-31 23:59:59${most}'`, `'0001-01-01 00:00:00${least}'`, `'0000-00-00 00:00:00'`],
      random: (random) => `'${date(random)} ${two(random, 24)}:${clock(random, fraction)}'`,
      show: MOMENT,
    },
    {
      type: `TIMESTAMP(${fraction}) NULL`,
      extremes: [`'2038-01-19 03:14:07${most}'`, `'1970-01-01 00:00:01${least}'`, `'0000-00-00 00:00:00'`],
      random: (random) =>
        `FROM_UNIXTIME(${1 + Math.floor(random() * 2 ** 31 * 0.999)}.${digits(random, fraction)}0)`,
      show: MOMENT,
    },
  ];
}

const MEMBERS = `'a','it''s','back\\\\slash','Käse',' two','茶'`;
const TEXTS = [`''`, `'Käse 🧀 ''q'' \\\\ \\0 \\n'`, `'  spaces  '`, `'\u{10ffff}\ufeff\ufffd'`, `'a\u0301'`];
const LATIN1 = Array.from({ length: 256 }, (_, code) => code.toString(16).padStart(2, '0')).join('');

const CASES: readonly TypeCase[] = [
  ...integer('TINYINT', 8),
  ...integer('SMALLINT', 16),
  ...integer('MEDIUMINT', 24),
  ...integer('INT', 32),
  ...integer('BIGINT', 64),
  ...[decimal(65, 30), decimal(65, 0), decimal(30, 30), decimal(10, 2), decimal(19, 9), decimal(1, 0)],
  ...[decimal(38, 38), decimal(18, 18)],
  real('FLOAT'),
  real('DOUBLE'),
  { type: 'FLOAT(9,3)', extremes: ['-999999.875', '0.001'], random: (r) => String(r() * 1e5), show: REAL },
  ...[0, 1, 2, 3, 4, 5, 6].flatMap(moments),
  {
    type: 'DATE',
    extremes: [`'9999-12-31'`, `'0000-00-00'`, `'2026-00-00'`, `'1000-01-01'`],
    random: (random) => `'${Math.floor(random() * 9999)}-11-${1 + Math.floor(random() * 30)}'`,
    show: MOMENT,
  },
  {
    type: 'YEAR',
    extremes: ['0', '1901', '2155'],
    random: (r) => String(1901 + Math.floor(r() * 254)),
    show: NUMBER,
  },
  ...[1, 8, 9, 33, 64].map((bits) => ({
    type: `BIT(${bits})`,
    extremes: [`b'${'1'.repeat(bits)}'`, `b'0'`],
    random: (random: () => number) =>
      `b'${Array.from({ length: bits }, () => (random() < 0.5 ? '0' : '1')).join('')}'`,
    show: '? + 0',
  })),
  {
    type: `ENUM(${MEMBERS})`,
    extremes: ['1', '6'],
    random: (random) => String(1 + Math.floor(random() * 6)),
    show: `CONCAT(? + 0, ':', HEX(CONVERT(? USING utf8mb4)))`,
  },
  {
    type: `SET(${MEMBERS})`,
    extremes: ['0', '63'],
    random: (random) => String(Math.floor(random() * 64)),
    show: `CONCAT(? + 0, ':', HEX(CONVERT(? USING utf8mb4)))`,
  },
  {
    type: `SET(${Array.from({ length: 64 }, (_, at) => `'m${at}'`).join()}) CHARACTER SET latin1`,
    extremes: ['18446744073709551615', '9223372036854775808', '4294967296'],
    random: (random) => String(BigInt(digits(random, 20)) % 2n ** 64n),
    show: '? + 0',
  },
  ...['CHAR(40)', 'VARCHAR(40)', 'VARCHAR(300)', 'TINYTEXT', 'MEDIUMTEXT', 'LONGTEXT'].map((type) => ({
    type: `${type} CHARACTER SET utf8mb4`,
    extremes: TEXTS,
    random: (random: () => number) =>
      `CONCAT(CHAR(${1 + Math.floor(random() * 126)}), '${digits(random, 9)}é')`,
    show: TEXT,
  })),
  {
    type: 'VARCHAR(300) CHARACTER SET utf8mb4 COLLATE uca1400_ai_ci',
    extremes: TEXTS,
    random: (random) => `'${digits(random, 20)}'`,
    show: TEXT,
  },
  {
    type: 'TEXT CHARACTER SET latin1',
    extremes: [`X'${LATIN1}'`, `''`],
    random: (random) => `X'${hexOf(random, 60)}'`,
    show: TEXT,
  },
  {
    type: 'CHAR(9) CHARACTER SET ascii',
    extremes: [`'~ a'`],
    random: (r) => `'${digits(r, 9)}'`,
    show: TEXT,
  },
  {
    // MariaDB keeps the text as it was written: order of members, digits, blanks, escapes.
    type: 'JSON',
    extremes: [
      `'{"a": [1, 2.50]}'`,
      `'{"b":1e2,"a":1,"b":-0.0}'`,
      `'["\\\\u00e9", "é😀", "\\\\""]'`,
      `' [ ] '`,
      `'null'`,
      `'18446744073709551616'`,
    ],
    random: (r) => `'[1${digits(r, 5)}.10]'`,
    show: TEXT,
  },
  ...['BINARY(7)', 'BINARY(255)', 'VARBINARY(300)', 'TINYBLOB', 'BLOB', 'LONGBLOB'].map((type) => ({
    type,
    extremes: [`''`, `X'00'`, `X'ff0020'`, `X'2000'`, `REPEAT(X'fe', 7)`],
    random: (random: () => number) => `X'${hexOf(random, 7)}'`,
    show: BYTES,
  })),
];

const MUTATED = [
  'collector.fixedBytesNotPadded',
  'collector.floatAsShown',
  'collector.latin1AsBytes',
  'collector.keyOrderAsText',
] as const;
const ROWS = 12;
const name = (at: number): string => `c${at}`;

/** Mulberry32: the same values in each run of a seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe.skipIf(mariadbMissing())('exact types, MariaDB', () => {
  let fixture: Fixture;
  let source: CompiledSource;
  let log: SealLog;
  let collector: RunningCollector | undefined;

  beforeEach(async () => {
    fixture = await openFixture('mysql');
    log = new SealLog();
  });

  afterEach(async () => {
    for (const name of MUTATED) setMutation(name, false);
    const ended = collector;
    collector = undefined;
    await endCollectors([ended], () => fixture.close());
  });

  const collectUntilNow = async (): Promise<void> => {
    collector ??= startCollector(fixture, source, log);
    const now = Date.now();
    await eventually(() => Number(log.windows.at(-1)?.coversMs ?? 0) > now + 1, { withinMs: 15_000 });
  };

  /** Each row as MariaDB shows its bits, with its net weight over all sealed windows where it is not 0. */
  const shown = async (where: 'source' | 'store', shows: readonly string[]): Promise<string[]> => {
    const table =
      where === 'source' ? 't' : changeTable({ sourceId: SOURCE_ID, table: 't', schemaVersion: 1 });
    const texts = ['CAST(id AS CHAR)', ...shows];
    const sql =
      where === 'source'
        ? `SELECT 1, ${texts.join(', ')} FROM \`${table}\``
        : `SELECT CAST(_w AS SIGNED), ${texts.join(', ')} FROM \`${table}\``;
    const { rows } = await fixture[where].use('test', (connection) => connection.query(sql));
    const net = new Map<string, number>();
    for (const [weight, ...values] of rows) {
      const text = values.map((value: SqlValue, at) => `${at}=${String(value)}`).join(' ');
      net.set(text, (net.get(text) ?? 0) + Number(weight));
    }
    return [...net]
      .filter(([, weight]) => weight !== 0)
      .map(([text, weight]) => `${weight}: ${text}`)
      .sort();
  };

  /** Fails where a value in the store is not the source's. */
  const collectAll = async (cases: readonly TypeCase[]): Promise<void> => {
    const random = randomOf(20_261_122);
    const shows = cases.map(({ show }, at) => show.replaceAll('?', name(at)));
    const columns = cases.map(({ type }, at) => `${name(at)} ${type}`).join(', ');
    const insert = (first: number): string[] =>
      Array.from({ length: ROWS }, (_, row) => {
        const values = cases.map(
          (one) => one.extremes[row] ?? (row === ROWS - 1 ? 'NULL' : one.random(random)),
        );
        return `INSERT INTO t VALUES (${[first + row, ...values].join(', ')})`;
      });
    await fixture.exec(`SET sql_mode = ''`, `CREATE TABLE t (id INT NOT NULL PRIMARY KEY, ${columns})`);
    await fixture.exec(...insert(0));
    source = await compile(fixture, ['t']);
    await collectUntilNow();
    expect(await shown('store', shows)).toEqual(await shown('source', shows));
    // The same values again by the log; then each row takes those of another, and some go.
    await fixture.exec(
      ...insert(100),
      `INSERT INTO t SELECT id + 1000, ${cases.map((_, at) => name(at)).join()} FROM t`,
    );
    const swap = cases.map((_, at) => `a.${name(at)} = b.${name(at)}`).join(', ');
    await fixture.exec(
      `UPDATE t a JOIN t b ON b.id = a.id + 1000 - IF(a.id % 100 < 6, 0, 6) SET ${swap} WHERE a.id < 1000`,
      `DELETE FROM t WHERE id % 3 = 0`,
    );
    await collectUntilNow();
    const found = await shown('store', shows);
    expect(found).toEqual(await shown('source', shows));
    expect(found.length).toBeGreaterThan(ROWS * 2);
  };

  it('keeps each value of each type, from the snapshot and from the log, also when it changes', () =>
    collectAll(CASES));

  it.each([
    ['collector.floatAsShown', 'FLOAT'],
    ['collector.latin1AsBytes', 'TEXT CHARACTER SET latin1'],
  ] as const)('is seen to fail with %s', async (name, type) => {
    setMutation(name, true);
    await expect(collectAll(CASES.filter((one) => one.type === type))).rejects.toThrow(/to deeply equal/);
  });

  /** Values before they are written: checksums and slots are made of them. */
  const sameValues = async (cases: readonly TypeCase[]): Promise<void> => {
    const random = randomOf(7);
    const columns = cases.map(({ type }, at) => `${name(at)} ${type}`).join(', ');
    await fixture.exec(`CREATE TABLE t (id INT NOT NULL PRIMARY KEY, ${columns})`);
    source = await compile(fixture, ['t']);
    const engines = { source: fixture.source, sourceAddress: fixture.address };
    const changes = openChangeSource({ source, engines, clock: systemClock });
    const { position } = await changes.snapshot(() => Promise.resolve(true));
    for (let row = 0; row < ROWS; row += 1) {
      const values = cases.map((one) => one.extremes[row] ?? one.random(random));
      await fixture.exec(
        `SET STATEMENT sql_mode = '' FOR INSERT INTO t VALUES (${[row, ...values].join(', ')})`,
      );
    }
    const logged: RowValues[] = [];
    const reader = await changes.read(position);
    await eventually(
      async () => {
        for (const event of await reader.next(50)) if (event.type === 'change') logged.push(event.row);
        return logged.length === ROWS;
      },
      { withinMs: 15_000, everyMs: 0 },
    );
    const read: RowValues[] = [];
    await changes.snapshot((_, rows) => {
      read.push(...rows);
      return Promise.resolve(true);
    });
    await changes.close();
    const plain = (rows: readonly RowValues[]): unknown[] =>
      rows.map((row) => row.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value)));
    expect(plain(logged)).toEqual(plain(read));
  };

  it('gives the same values from the log as from a snapshot', () => sameValues(CASES));

  it('is seen to fail with collector.fixedBytesNotPadded', async () => {
    setMutation('collector.fixedBytesNotPadded', true);
    const cases = CASES.filter(({ type }) => type === 'BINARY(7)');
    await expect(sameValues(cases)).rejects.toThrow(/to deeply equal/);
  });

  it.each([
    ['ENUM', `ENUM('z', 'a', 'm')`, `ELT(1 + seq % 3, 'z', 'a', 'm')`],
    ['BIT', 'BIT(20)', 'seq % 3'],
    ['FLOAT', 'FLOAT', '0.1 * (seq % 3)'],
    ['CHAR', 'CHAR(2) CHARACTER SET latin1', `ELT(1 + seq % 3, 'Z', 'ä', 'm')`],
  ])('reads a table whole whose key begins with %s', async (_, type, value) => {
    const read = async (): Promise<void> => {
      await fixture.exec(
        `CREATE OR REPLACE TABLE t (k ${type} NOT NULL, n INT NOT NULL, PRIMARY KEY (k, n))`,
        `INSERT INTO t SELECT ${value}, seq FROM seq_1_to_4500`,
      );
      const [table] = await inspectSource(fixture.source, { tables: [{ table: 't' }] });
      const seen = new Set<unknown>();
      let count = 0;
      await fixture.source.use('test', (connection) =>
        readTables(connection, fixture.source.dialect, [must(table, 'the table')], (__, rows) => {
          for (const [, n] of rows) seen.add(n);
          count += rows.length;
          return Promise.resolve(true);
        }),
      );
      expect([seen.size, count]).toEqual([4_500, 4_500]);
    };
    await read();
    if (type.startsWith('ENUM')) {
      setMutation('collector.keyOrderAsText', true);
      await expect(read()).rejects.toThrow(/to deeply equal/);
    }
  });

  it('refuses a value of an ENUM that is none of its members, by name', async () => {
    await fixture.exec(`CREATE TABLE t (id INT NOT NULL PRIMARY KEY, kind ENUM('a', 'b'))`);
    source = await compile(fixture, ['t']);
    await collectUntilNow();
    await fixture.exec(`SET STATEMENT sql_mode = '' FOR INSERT INTO t VALUES (1, 'c')`);
    await expect(collector?.ended).rejects.toMatchObject({
      code: 'VALUE_RANGE',
      message: expect.stringContaining('t.kind') as string,
    });
  });
});
