/** Reads tables and server settings of MySQL and MariaDB. */
import { TidemarkError } from '../../base/index.ts';
import type { ColumnSpec } from '../../job/index.ts';
import type { ResultSet, SqlConnection, SqlValue } from '../../sql/index.ts';
import type { InspectedTable } from './inspect-source.ts';

/**
 * Checks that the server writes what a collector reads.
 * @throws TidemarkError `BINLOG_NOT_ROW`, `BINLOG_NO_GTID`, `DB_ACCESS`.
 */
export async function inspectMysqlServer(connection: SqlConnection): Promise<void> {
  judgeSettings(await globalSettings(connection));
  await checkPrivileges(connection);
}

/** Judges the server's settings, by lower-case name; one that the server does not have is absent. */
export function judgeSettings(settings: ReadonlyMap<string, string>): void {
  const mariadb = /mariadb/i.test(settings.get('version') ?? '');
  const wanted: readonly (readonly [string, readonly string[]])[] = [
    ['log_bin', ['ON']],
    ['binlog_format', ['ROW']],
    ['binlog_row_image', ['FULL']],
    ['binlog_transaction_compression', ['OFF']],
    ['binlog_row_value_options', ['']],
  ];
  for (const [name, values] of wanted) {
    const value = settings.get(name);
    if (value === undefined || values.includes(value.toUpperCase())) continue;
    throw new TidemarkError('BINLOG_NOT_ROW', `the source has ${name} = ${value}`, {
      next: `Set ${name} = ${String(values[0]) || "''"} in the server's configuration and restart it.`,
    });
  }
  if (settings.get('server_id') === '0' || (!mariadb && settings.get('gtid_mode') !== 'ON')) {
    const name = settings.get('server_id') === '0' ? 'server_id' : 'gtid_mode';
    throw new TidemarkError('BINLOG_NO_GTID', `the source has ${name} = ${settings.get(name) ?? 'unknown'}`, {
      next: 'Set server_id above 0 and, on MySQL, gtid_mode = ON with enforce_gtid_consistency = ON.',
    });
  }
}

async function globalSettings(connection: SqlConnection): Promise<Map<string, string>> {
  const { rows } = await connection.query(
    `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'log_bin', 'binlog_format', ` +
      `'binlog_row_image', 'binlog_transaction_compression', 'binlog_row_value_options', 'server_id', ` +
      `'gtid_mode')`,
  );
  return new Map(rows.map(([name, value]) => [textOf(name).toLowerCase(), textOf(value)]));
}

async function checkPrivileges(connection: SqlConnection): Promise<void> {
  const { rows } = await connection.query('SHOW GRANTS');
  const grants = rows.map(([grant]) => textOf(grant)).filter((grant) => / ON \*\.\* TO /.test(grant));
  const held = grants.some((grant) =>
    /\bALL PRIVILEGES\b|\bREPLICATION (?:SLAVE|REPLICA)\b(?! ADMIN)/.test(grant),
  );
  if (held) return;
  throw new TidemarkError('DB_ACCESS', 'the account of the source may not read its binlog', {
    next: 'GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO the account.',
  });
}

/** @throws TidemarkError `TABLE_MISSING`, `COLUMN_TYPE`, `SOURCE_UNTELLABLE`. */
export async function inspectMysqlTable(connection: SqlConnection, table: string): Promise<InspectedTable> {
  const found = await connection.query(
    `SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES ` +
      `WHERE TABLE_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ?`,
    [table],
  );
  const [type, engine] = found.rows[0] ?? [];
  if (type === undefined || textOf(type) !== 'BASE TABLE') {
    throw new TidemarkError('TABLE_MISSING', `there is no table ${table} in the source's database`, {
      next: 'Check its name and letter case, and that the account may SELECT from it.',
    });
  }
  if (textOf(engine ?? null) !== 'InnoDB') {
    throw new TidemarkError('SOURCE_UNTELLABLE', `table ${table} uses the engine ${textOf(engine ?? null)}`, {
      next: 'A consistent snapshot needs InnoDB: ALTER TABLE ... ENGINE = InnoDB.',
    });
  }
  return {
    columns: await columnsOf(connection, table),
    primaryKey: await primaryKeyOf(connection, table),
    cascade: await cascadeOf(connection, table),
    // The binlog tells every row that REPLACE removes.
    secondUnique: undefined,
  };
}

async function columnsOf(connection: SqlConnection, table: string): Promise<readonly ColumnSpec[]> {
  const result = await connection.query(
    `SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, ` +
      `NUMERIC_SCALE, DATETIME_PRECISION, CHARACTER_SET_NAME, COLUMN_TYPE FROM information_schema.COLUMNS ` +
      `WHERE TABLE_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ? ORDER BY ORDINAL_POSITION`,
    [table],
  );
  return records(result).map((column) => columnOf(table, column));
}

/**
 * Makes a column of what information_schema.COLUMNS has of it.
 * @throws TidemarkError `COLUMN_TYPE` for one that cannot be captured.
 */
export function columnOf(table: string, column: ReadonlyMap<string, string>): ColumnSpec {
  return {
    name: column.get('COLUMN_NAME') ?? '',
    type: typeOf(table, column),
    nullable: column.get('IS_NULLABLE') === 'YES',
    declared: declaredType(column),
  };
}

/** As the column's own definition would say it; see schema-change.ts. */
function declaredType(column: ReadonlyMap<string, string>): string {
  const charset = column.get('CHARACTER_SET_NAME');
  return `${column.get('COLUMN_TYPE') ?? ''}${charset === undefined ? '' : ` character set ${charset}`}`;
}

/** Character sets whose every text reads the same from a binlog and from a query. */
const CHARSETS: readonly string[] = ['utf8', 'utf8mb3', 'utf8mb4', 'ascii', 'latin1'];
/** What a declared TEXT or BYTES may say at most; the change table holds longer values too. */
const TEXT_LENGTH_MAX = 16_000;
const BYTES_LENGTH_MAX = 65_000;

/** A definition is part of the replicated state, so a list of members is bounded. */
const MEMBERS_TEXT_MAX = 8_000;
/** Formats of MariaDB that its binlog tells in another way, or not at all. */
const FOREIGN_FORMAT = /COMPRESSED|mariadb-5\.3/i;

/** Generated and invisible columns are columns like others: a full row image has their values. */
function typeOf(table: string, column: ReadonlyMap<string, string>): string {
  const name = column.get('COLUMN_NAME') ?? '';
  const declared = column.get('COLUMN_TYPE') ?? '';
  if (FOREIGN_FORMAT.test(declared)) throw columnType(table, name, declared);
  const type = column.get('DATA_TYPE')?.toLowerCase() ?? '';
  const found = numberType(type, declared, column) ?? textType(type, column) ?? memberType(type, declared);
  const charset = column.get('CHARACTER_SET_NAME');
  if (found === undefined) throw columnType(table, name, declared);
  if (charset !== undefined && !CHARSETS.includes(charset)) {
    throw columnType(table, name, `${declared} in character set ${charset}`);
  }
  return found;
}

function numberType(type: string, declared: string, column: ReadonlyMap<string, string>): string | undefined {
  switch (type) {
    case 'tinyint':
    case 'smallint':
    case 'mediumint':
    case 'int':
    case 'bigint':
      return `${type.toUpperCase()}${/\bunsigned\b/i.test(declared) ? ' UNSIGNED' : ''}`;
    case 'decimal':
      return `DECIMAL(${column.get('NUMERIC_PRECISION') ?? ''},${column.get('NUMERIC_SCALE') ?? '0'})`;
    case 'float':
    case 'double':
      return type.toUpperCase();
    case 'bit':
      return `BIT(${column.get('NUMERIC_PRECISION') ?? ''})`;
    case 'year':
      // YEAR(2) shows two digits only.
      return declared === 'year(2)' ? undefined : 'YEAR';
    case 'date':
      return 'DATE';
    case 'time':
      return `TIME(${column.get('DATETIME_PRECISION') ?? '0'})`;
    // A TIMESTAMP is captured under UTC, where it is a DATETIME.
    case 'datetime':
    case 'timestamp':
      return `DATETIME(${column.get('DATETIME_PRECISION') ?? '0'})`;
    default:
      return undefined;
  }
}

function textType(type: string, column: ReadonlyMap<string, string>): string | undefined {
  const length = Math.max(1, Number(column.get('CHARACTER_MAXIMUM_LENGTH') ?? 0));
  switch (type) {
    case 'char':
    case 'varchar':
    case 'tinytext':
    case 'text':
    case 'mediumtext':
    case 'longtext':
      return `TEXT(${Math.min(length, TEXT_LENGTH_MAX)})`;
    case 'binary':
      return `BINARY(${length})`;
    case 'varbinary':
    case 'tinyblob':
    case 'blob':
    case 'mediumblob':
    case 'longblob':
      return `BYTES(${Math.min(length, BYTES_LENGTH_MAX)})`;
    default:
      return undefined;
  }
}

function memberType(type: string, declared: string): string | undefined {
  if ((type !== 'enum' && type !== 'set') || declared.length > MEMBERS_TEXT_MAX) return undefined;
  return type.toUpperCase() + declared.slice(type.length);
}

function columnType(table: string, column: string, declared: string): TidemarkError {
  return new TidemarkError(
    'COLUMN_TYPE',
    `${table}.${column} has type ${declared}, which cannot be captured`,
    {
      next:
        'Numbers, BIT, ENUM, SET, dates and times, binary columns, and text in utf8mb3, utf8mb4, ascii or ' +
        'latin1 can, if not COMPRESSED.',
    },
  );
}

async function primaryKeyOf(connection: SqlConnection, table: string): Promise<readonly string[]> {
  const { rows } = await connection.query(
    `SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() ` +
      `AND BINARY TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX`,
    [table],
  );
  return rows.map(([name]) => textOf(name));
}

/** InnoDB runs cascades below the binlog: the child rows change, and no event says so. */
async function cascadeOf(connection: SqlConnection, table: string): Promise<string | undefined> {
  const { rows } = await connection.query(
    `SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS ` +
      `WHERE CONSTRAINT_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ? AND ` +
      `(DELETE_RULE NOT IN ('NO ACTION', 'RESTRICT') OR UPDATE_RULE NOT IN ('NO ACTION', 'RESTRICT'))`,
    [table],
  );
  const name = rows[0]?.[0];
  return name === undefined ? undefined : textOf(name);
}

function records(result: ResultSet): Map<string, string>[] {
  return result.rows.map(
    (row) =>
      new Map(
        result.columns.flatMap(({ name }, at) => {
          const value = row[at];
          return value === null || value === undefined ? [] : [[name, textOf(value)] as const];
        }),
      ),
  );
}

function textOf(value: SqlValue | undefined): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value ?? '');
}
