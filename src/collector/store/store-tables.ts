/**
 * The store's tables that a collector writes and the task runner reads: change rows under a primary key that
 * begins with source, epoch, day and window (design 6.3), and one mark per sealed-to-be window (6.4).
 */
import { systemClock } from '../../base/index.ts';
import {
  CHANGE_COLUMNS,
  MARK_COLUMNS,
  MARK_TABLE,
  changeTable,
  type CompiledSource,
} from '../../job/index.ts';
import { parseColumnType, type Dialect, type SqlEngine } from '../../sql/index.ts';
import { dayPartitionsClause } from './day-partitions.ts';

/** Longer columns live outside the row in MySQL, whose rows hold 65,535 bytes together. */
const INLINE_LENGTH_MAX = 1_000;

/**
 * Makes the change tables of `source` and the mark table, unless they exist. Repeating it is harmless.
 * `wallMs` says from which day on change tables have partitions.
 * @throws TidemarkError `DB_*`, `COLUMN_TYPE`, `DECIMAL_EMBEDDED`.
 */
export async function createStoreTables(
  engine: SqlEngine,
  sourceId: number,
  source: CompiledSource,
  wallMs = systemClock.wallMs(),
): Promise<void> {
  await engine.use('store tables', async (connection) => {
    await connection.query(markTableSql(engine.dialect));
    for (const table of source.tables) {
      const name = changeTable({ sourceId, table: table.table, schemaVersion: table.schemaVersion });
      const columns = table.columns.map(
        (column) => `${engine.dialect.id(column.name)} ${changeColumnType(engine.dialect, column.type)}`,
      );
      const partitions = dayPartitionsClause(engine.dialect, wallMs);
      await connection.query(`${changeTableSql(engine.dialect, name, columns)}${partitions}`);
    }
  });
}

/** The DDL type of a captured column in a change table. */
export function changeColumnType(dialect: Dialect, type: string): string {
  const parsed = parseColumnType(type);
  if (dialect.kind === 'mysql' && 'length' in parsed && parsed.length > INLINE_LENGTH_MAX) {
    return parsed.kind === 'TEXT' ? 'LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin' : 'LONGBLOB';
  }
  // A TIMESTAMP is captured under UTC; as a DATETIME it has neither a range of its own nor a time zone.
  return dialect.columnType(parsed.kind === 'TIMESTAMP' ? `DATETIME(${parsed.digits})` : type);
}

function changeTableSql(dialect: Dialect, name: string, columns: readonly string[]): string {
  const [source, epoch, day, window, ordinal, weight] = CHANGE_COLUMNS.map((column) => dialect.id(column));
  const big = `${dialect.columnType('BIGINT')} NOT NULL`;
  const lines = [
    `${source} ${big}`,
    `${epoch} ${big}`,
    `${day} ${dialect.columnType('DATE')} NOT NULL`,
    `${window} ${big}`,
    `${ordinal} ${big}`,
    `${weight} ${big}`,
    ...columns,
    `PRIMARY KEY (${source}, ${epoch}, ${day}, ${window}, ${ordinal})`,
  ];
  return `CREATE TABLE IF NOT EXISTS ${dialect.id(name)} (${lines.join(', ')})${tableOptions(dialect)}`;
}

function markTableSql(dialect: Dialect): string {
  const [source, epoch, window, rows, checksum] = MARK_COLUMNS.map((column) => dialect.id(column));
  const big = `${dialect.columnType('BIGINT')} NOT NULL`;
  const lines = [
    `${source} ${big}`,
    `${epoch} ${big}`,
    `${window} ${big}`,
    `${rows} ${big}`,
    `${checksum} ${dialect.columnType('TEXT(16)')} NOT NULL`,
    `PRIMARY KEY (${source}, ${epoch}, ${window})`,
  ];
  return `CREATE TABLE IF NOT EXISTS ${dialect.id(MARK_TABLE)} (${lines.join(', ')})${tableOptions(dialect)}`;
}

/** Rows are stored in primary key order on both engines, so that a window is one contiguous read. */
function tableOptions(dialect: Dialect): string {
  return dialect.kind === 'mysql' ? ' ENGINE = InnoDB ROW_FORMAT = DYNAMIC' : ' WITHOUT ROWID';
}
