/**
 * The tables of a report database, made once and never altered. Every statement is harmless when repeated,
 * also by two executors at once.
 */
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import {
  FOLD_TABLE,
  KNOWN_TABLE,
  LEDGER_TABLE,
  PREPARED_TABLE,
  SINK_TABLE,
  STAGE_TABLE,
  WATERMARK_TABLE,
} from '../../job/index.ts';
import { CONTRIBUTION_KEY, STATE_WINDOW, type AdditiveColumn, type ReportLayout } from './layout.ts';
import { PACK_KEY } from './packs.ts';

/** Format version of everything in a report database; kept in the sink row, checked when the epoch is set. */
export const SINK_FORMAT = 3n;

interface Column {
  readonly name: string;
  /** The engine's own type. */
  readonly type: string;
  readonly nullable?: boolean;
}

interface TableSpec {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly key: readonly string[];
  readonly index?: { readonly name: string; readonly columns: readonly string[] };
}

const SCOPE = ['report_id', 'generation', 'source_id'] as const;

const bigints = (dialect: Dialect, ...names: readonly string[]): Column[] =>
  names.map((name) => ({ name, type: dialect.columnType('BIGINT') }));

const text = (dialect: Dialect, name: string, length: number): Column => ({
  name,
  type: dialect.columnType(`TEXT(${length})`),
});

/** The same name in both engines: text without a bound of its own. A set of GTIDs may be long. */
const longText = (name: string): Column => ({ name, type: 'TEXT' });

const commonTables = (dialect: Dialect): TableSpec[] => [
  {
    name: SINK_TABLE,
    columns: [
      ...bigints(dialect, 'id', 'format'),
      text(dialect, 'cluster_id', 32),
      ...bigints(dialect, 'epoch'),
      // On which server the epoch was set: a promoted replica has this row too.
      text(dialect, 'server', 64),
    ],
    key: ['id'],
  },
  {
    name: LEDGER_TABLE,
    columns: [
      ...bigints(dialect, ...SCOPE, 'first_window', 'part', 'parts', 'last_window'),
      // 0 stands for "no token": tokens are positive. `applied` is the token whose contribution stands.
      // `merged_rows` are those of its contribution: what an audit counts.
      ...bigints(dialect, 'applied', 'merged_rows', 'floor_token', 'hole', 'covers_ms'),
      longText('position_text'),
      text(dialect, 'reason', 200),
    ],
    key: [...SCOPE, 'first_window', 'part'],
    index: { name: 'tm_ledger_holes', columns: [...SCOPE, 'hole'] },
  },
  {
    // Whose rows of a contribution are being written before they are merged.
    name: STAGE_TABLE,
    columns: bigints(dialect, ...SCOPE, 'first_window', 'part', 'token', 'attempt', 'pieces'),
    key: [...SCOPE, 'first_window', 'part'],
  },
  {
    name: WATERMARK_TABLE,
    columns: [
      ...bigints(dialect, ...SCOPE),
      text(dialect, 'report', 64),
      ...bigints(dialect, 'last_window', 'covers_ms'),
      longText('position_text'),
      ...bigints(dialect, 'holes'),
    ],
    key: [...SCOPE],
  },
  {
    name: FOLD_TABLE,
    // Up to where spans are folded away, and the epoch that this window was sealed under; 0 at first. The
    // sink epoch stands here once more: tables that were put back at different times do not agree.
    columns: bigints(dialect, ...SCOPE, 'folded_window', 'folded_seal', 'epoch'),
    key: [...SCOPE],
  },
  {
    name: KNOWN_TABLE,
    columns: [
      ...bigints(dialect, 'run', ...SCOPE, 'first_window', 'part', 'last_window'),
      ...bigints(dialect, 'token', 'state', 'seal'),
    ],
    key: ['run', ...SCOPE, 'first_window', 'part'],
  },
  {
    name: PREPARED_TABLE,
    columns: [text(dialect, 'report', 64), ...bigints(dialect, 'token')],
    key: ['report'],
  },
];

/** Creates the tables that every report database has. */
export async function createCommonTables(engine: SqlEngine): Promise<void> {
  await engine.use('prepare', (connection) =>
    createTables(connection, engine.dialect, commonTables(engine.dialect)),
  );
}

/** Creates the tables of one report generation; whoever comes late only makes tables that nobody reads. */
export async function createReportTables(engine: SqlEngine, layout: ReportLayout): Promise<void> {
  await engine.use('prepare', (connection) =>
    createTables(connection, engine.dialect, reportTables(engine.dialect, layout)),
  );
}

/** Text keys and multiset values are stored as bytes: exact, and free of any collation (design 6.1). */
function reportTables(dialect: Dialect, layout: ReportLayout): TableSpec[] {
  const keys = layout.keys.map((key) => ({ name: key.column, type: dialect.storedType(key.type) }));
  const keyNames = keys.map((key) => key.name);
  const sums = layout.additive.map((sum) => ({
    name: sum.column,
    type: sumType(dialect, sum),
    nullable: sum.of === 'cell',
  }));
  const tables: TableSpec[] = [
    { name: layout.table, columns: [...keys, ...sums], key: keyNames },
    layout.isOfCells
      ? {
          name: layout.contributionTable,
          columns: [...bigints(dialect, ...CONTRIBUTION_KEY), ...keys, ...sums],
          key: [...CONTRIBUTION_KEY, ...keyNames],
          // The former cells of a key are looked for when newer ones are taken back (cells.ts).
          index: formerCells(layout, keyNames),
        }
      : packTable(dialect, layout),
  ];
  for (const multiset of layout.multisets) {
    const value = { name: 'value', type: dialect.storedType(multiset.type) };
    const weight = bigints(dialect, 'weight');
    tables.push({ name: multiset.table, columns: [...keys, value, ...weight], key: [...keyNames, 'value'] });
  }
  return tables;
}

/** What spans added to all tables of the report (packs.ts). */
function packTable(dialect: Dialect, layout: ReportLayout): TableSpec {
  return {
    name: layout.contributionTable,
    columns: [
      ...bigints(dialect, ...PACK_KEY, 'lowers', 'row_total'),
      // Texts of numbers, and of bytes in hexadecimal.
      { name: 'body', type: dialect.kind === 'mysql' ? 'MEDIUMTEXT CHARACTER SET ascii' : 'TEXT' },
    ],
    key: PACK_KEY,
  };
}

function formerCells(layout: ReportLayout, keyNames: readonly string[]): NonNullable<TableSpec['index']> {
  return { name: `${layout.contributionTable}_keys`, columns: [...keyNames, STATE_WINDOW] };
}

/**
 * A sum of DECIMALs gets more digits than its summands; a sum of integers stays a 64-bit integer on both
 * engines, and one that outgrows it is refused with `VALUE_RANGE` by the database.
 */
function sumType(dialect: Dialect, { type, of }: AdditiveColumn): string {
  if (of === 'squares') return dialect.squaresType(type);
  if (of === 'cell') return dialect.storedType(type);
  return type.startsWith('DECIMAL') ? dialect.sumType(type) : dialect.columnType('BIGINT');
}

async function createTables(
  connection: SqlConnection,
  dialect: Dialect,
  tables: readonly TableSpec[],
): Promise<void> {
  for (const table of tables) for (const sql of tableStatements(dialect, table)) await connection.query(sql);
}

function tableStatements(dialect: Dialect, table: TableSpec): string[] {
  const list = (names: readonly string[]): string => names.map((name) => dialect.id(name)).join(', ');
  const columns = table.columns.map(
    ({ name, type, nullable }) => `${dialect.id(name)} ${type} ${nullable === true ? 'NULL' : 'NOT NULL'}`,
  );
  const parts = [...columns, `PRIMARY KEY (${list(table.key)})`];
  const { index } = table;
  const mysql = dialect.kind === 'mysql';
  // MySQL has no CREATE INDEX IF NOT EXISTS, SQLite has no index inside CREATE TABLE.
  if (mysql && index !== undefined) parts.push(`KEY ${dialect.id(index.name)} (${list(index.columns)})`);
  // STRICT makes the embedded engine refuse a sum that overflowed into a float instead of rounding it.
  const options = mysql
    ? ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin'
    : ' STRICT, WITHOUT ROWID';
  const create = `CREATE TABLE IF NOT EXISTS ${dialect.id(table.name)} (${parts.join(', ')})${options}`;
  if (mysql || index === undefined) return [create];
  return [
    create,
    `CREATE INDEX IF NOT EXISTS ${dialect.id(index.name)} ` +
      `ON ${dialect.id(table.name)} (${list(index.columns)})`,
  ];
}
