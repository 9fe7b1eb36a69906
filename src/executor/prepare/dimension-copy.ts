/**
 * Immutable copies of dimension tables (design 6.2): read from the source in one consistent snapshot,
 * written to every store shard under a name that carries the token of the grant that first made them. An
 * executor that hangs while copying and wakes later fills a table that nobody reads, or with the same rows.
 */
import { isTidemarkError, LIMITS, mutated, TidemarkError } from '../../base/index.ts';
import { RowChecksum, exactSelect } from '../../collector/index.ts';
import { dimensionTable, type ColumnSpec } from '../../job/index.ts';
import {
  parseColumnType,
  type Dialect,
  type SqlConnection,
  type SqlEngine,
  type SqlValue,
} from '../../sql/index.ts';

export interface DimensionSpec {
  readonly table: string;
  readonly columns: readonly ColumnSpec[];
}

export interface DimensionData extends DimensionSpec {
  readonly rows: readonly (readonly SqlValue[])[];
  /** 16 hex digits: the order-free sum of row hashes. */
  readonly checksum: string;
}

/** Which copy: what its table is named by. */
export interface CopyName {
  readonly sourceId: number;
  readonly prepared: bigint;
  readonly table: string;
}

/** Texts longer than this are not indexed: MySQL bounds the bytes of a key. */
const INDEXED_LENGTH_MAX = 255;

/**
 * Reads dimension tables as of one moment.
 * @throws TidemarkError `TABLE_MISSING`, `OVERLOADED` for one that is too large to be copied, and those of
 * the engine.
 */
export async function readDimensions(
  source: SqlEngine,
  dimensions: readonly DimensionSpec[],
): Promise<DimensionData[]> {
  if (dimensions.length === 0) return [];
  return source.use('dimensions', async (connection) => {
    await connection.begin('snapshot');
    const data: DimensionData[] = [];
    for (const dimension of dimensions) data.push(await readDimension(connection, source, dimension));
    await connection.commit();
    return data;
  });
}

async function readDimension(
  connection: SqlConnection,
  source: SqlEngine,
  dimension: DimensionSpec,
): Promise<DimensionData> {
  const columns = dimension.columns.map((column) => exactSelect(source.dialect, column)).join(', ');
  const { rows } = await connection.query(
    `SELECT ${columns} FROM ${source.dialect.id(dimension.table)} LIMIT ${LIMITS.dimensionRowsMax}`,
  );
  if (rows.length >= LIMITS.dimensionRowsMax) {
    throw new TidemarkError(
      'JOB_UNSUPPORTED',
      `dimension ${dimension.table} has too many rows to be copied`,
      {
        next: `Keep dimensions below ${LIMITS.dimensionRowsMax} rows.`,
      },
    );
  }
  const exact = withReals(dimension.columns, rows);
  return { ...dimension, rows: exact, checksum: checksumOf(dimension.columns, exact) };
}

/** Real numbers are read as text on some engines: see {@link exactSelect}. */
function withReals(
  columns: readonly ColumnSpec[],
  rows: readonly (readonly SqlValue[])[],
): readonly (readonly SqlValue[])[] {
  const isReal = columns.map(({ type }) => /^(?:FLOAT|DOUBLE)$/.test(parseColumnType(type).kind));
  if (!isReal.includes(true)) return rows;
  return rows.map((row) =>
    row.map((value, at) => (isReal[at] === true && typeof value === 'string' ? Number(value) : value)),
  );
}

/**
 * Writes one copy to one store shard under another name, reads it back, and gives it its name: who finds the
 * table finds all of it, also on a replica or after a failover, which may lack the last that was committed.
 * It is read back because every report that joins it would be wrong for good, and nothing else looks again.
 * @throws TidemarkError `DB_FAILED` if the copy is not what the source holds, and those of the engine.
 */
export async function writeDimension(
  store: SqlEngine,
  { copy, grant }: { readonly copy: CopyName; readonly grant: bigint },
  data: DimensionData,
): Promise<void> {
  const { dialect } = store;
  const name = dimensionTable(copy);
  const columns = data.columns.map(
    (column) =>
      `${dialect.id(column.name)} ${dialect.columnType(column.type)}${column.nullable ? '' : ' NOT NULL'}`,
  );
  const unfinished = mutated('executor.copyNamedEmpty') ? name : unfinishedName(copy.sourceId, grant);
  await store.use('dimensions', async (connection) => {
    if (await hasTable(connection, dialect.id(name))) return;
    const definition = [...columns, ...indexOf(store, data)].join(', ');
    await connection.query(`DROP TABLE IF EXISTS ${dialect.id(unfinished)}`);
    await connection.query(`CREATE TABLE ${dialect.id(unfinished)} (${definition})`);
    await connection.begin('write');
    try {
      await connection.insertRows(
        unfinished,
        data.columns.map((column) => column.name),
        data.rows,
      );
    } catch (error) {
      await connection.rollback();
      throw error;
    }
    await connection.commit();
    await checkCopy(connection, store, unfinished, data);
    // Else MySQL plans joins by the statistics of the table while it was being filled: one that it takes for
    // smaller than it is, it reads first, and all change rows again for each of its rows.
    if (store.kind === 'mysql' && !mutated('executor.copyNotAnalyzed')) {
      await connection.query(`ANALYZE TABLE ${dialect.id(unfinished)}`);
    }
    if (unfinished === name) return;
    try {
      await connection.query(`ALTER TABLE ${dialect.id(unfinished)} RENAME TO ${dialect.id(name)}`);
    } catch (error) {
      // Another grant has made the same one meanwhile.
      if (!(await hasTable(connection, dialect.id(name)))) throw error;
      await connection.query(`DROP TABLE ${dialect.id(unfinished)}`);
    }
  });
}

/** The copies of a grant are made one after the other, but two grants may make the same one again. */
const unfinishedName = (sourceId: number, grant: bigint): string => `tm_unfinished_${sourceId}_${grant}`;

/** Whether a copy is there, all of it. @throws TidemarkError those of the engine. */
export async function hasTable(connection: SqlConnection, table: string): Promise<boolean> {
  try {
    await connection.query(`SELECT 1 FROM ${table} LIMIT 1`);
    return true;
  } catch (error) {
    if (isTidemarkError(error, 'TABLE_MISSING')) return false;
    throw error;
  }
}

/** The tables of all copies of a source, finished or not, with the token that each is named by. */
export async function copiesTables(
  connection: SqlConnection,
  dialect: Dialect,
  sourceId: number,
): Promise<{ readonly name: string; readonly made: bigint }[]> {
  const { rows } = await connection.query(
    dialect.kind === 'mysql'
      ? 'SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()'
      : `SELECT name FROM sqlite_master WHERE type = 'table'`,
  );
  const of = new RegExp(`^tm_(?:dimension_${sourceId}_.+|unfinished_${sourceId})_([0-9]+)$`, 's');
  return rows.flatMap(([found]) => {
    const name = String(found);
    const token = of.exec(name)?.[1];
    return token === undefined ? [] : [{ name, made: BigInt(token) }];
  });
}

async function checkCopy(
  connection: SqlConnection,
  store: SqlEngine,
  name: string,
  data: DimensionData,
): Promise<void> {
  const columns = data.columns.map((column) => exactSelect(store.dialect, column)).join(', ');
  const { rows } = await connection.query(`SELECT ${columns} FROM ${store.dialect.id(name)}`);
  const found = checksumOf(data.columns, withReals(data.columns, rows));
  if (rows.length === data.rows.length && found === data.checksum) return;
  throw new TidemarkError(
    'DB_FAILED',
    `the copy of dimension ${data.table} differs from its source: ` +
      `${rows.length} rows with checksum ${found}, not ${data.rows.length} with ${data.checksum}`,
    {
      next: `Look for values in ${data.table} that its column types do not hold exactly; it is copied anew.`,
    },
  );
}

/**
 * Reports join on a dimension's key, by custom its first column. SQLite makes such an index by itself when
 * it helps.
 */
function indexOf(store: SqlEngine, data: DimensionData): string[] {
  const [first] = data.columns;
  if (store.kind === 'embedded' || first === undefined) return [];
  const type = parseColumnType(first.type);
  const name = store.dialect.id(first.name);
  if (type.kind === 'BIGINT' && !first.nullable && isUnique(data.rows)) return [`PRIMARY KEY (${name})`];
  if ('length' in type && type.length > INDEXED_LENGTH_MAX) return [];
  return type.kind === 'JSON' ? [] : [`KEY (${name})`];
}

/**
 * Whether no two rows have the same first value. A copy never changes, so that it may be a primary key then,
 * which leads to a row in one step instead of two.
 */
function isUnique(rows: DimensionData['rows']): boolean {
  if (mutated('executor.copyWithoutPrimaryKey')) return false;
  return new Set(rows.map(([first]) => String(first))).size === rows.length;
}

function checksumOf(columns: readonly ColumnSpec[], rows: readonly (readonly SqlValue[])[]): string {
  const isMoment = columns.map(({ type }) => /^(?:DATETIME|TIMESTAMP)$/.test(parseColumnType(type).kind));
  const checksum = new RowChecksum();
  for (const row of rows) {
    checksum.add(
      '',
      row.map((value, at) => (isMoment[at] === true ? withoutZeros(value) : value)),
    );
  }
  return checksum.toString();
}

/** A store shows a moment with six digits of its second, a source with as many as its column has. */
function withoutZeros(value: SqlValue): SqlValue {
  return typeof value === 'string' && value.includes('.') ? value.replace(/\.?0+$/, '') : value;
}
