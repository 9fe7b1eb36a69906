/**
 * Change rows of a span in temporary tables of one connection (design 6.7): many small reports read the same
 * rows, and finding them complete and reading them is half of what such a report costs. A copy is complete if
 * it has as many rows as were counted when mark and number were found right: sealed rows are deleted, never
 * changed.
 */
import { mutated, TidemarkError } from '../../base/index.ts';
import { changeTable, inWindows, type CapturedTable } from '../../job/index.ts';
import { parseColumnType, type Dialect, type SqlConnection } from '../../sql/index.ts';
import { checkComplete, type WindowsOfShard } from './completeness.ts';

/** A captured table, and those of its columns that are read. */
export interface Wanted {
  readonly table: CapturedTable;
  readonly columns: readonly string[];
  /** Columns that others were seen to read: they are copied too where there is room. */
  readonly also?: readonly string[];
}

/** Names of copies by captured table. */
export type Copies = ReadonlyMap<string, string>;

/** What the copies of a span may take in all, in bytes: below the server's default for one MEMORY table. */
const COPY_BYTES_MAX = 12 * 1_048_576;
/** Longer texts are kept out of line, which MEMORY cannot. */
const TEXT_LENGTH_MAX = 255;

/** Whether so many rows may be copied. A row of a MEMORY table takes its greatest length. */
export function mayCopy({ table, columns }: Wanted, rows: number): boolean {
  const bytes = table.columns
    .filter(({ name }) => columns.includes(name))
    .reduce((sum, { type }) => sum + bytesOf(type), 32);
  return bytes * rows <= COPY_BYTES_MAX;
}

/** The columns of a copy: as many of those that may be wanted as there is room for. */
export function columnsToCopy(
  { table, columns, also = [] }: Wanted,
  has: readonly string[],
  rows: number,
): string[] {
  const sets = [[...has, ...also, ...columns], [...has, ...columns], columns];
  return [...new Set(sets.find((set) => mayCopy({ table, columns: set }, rows)) ?? columns)];
}

function bytesOf(type: string): number {
  const parsed = parseColumnType(type);
  if (parsed.kind === 'JSON') return Number.POSITIVE_INFINITY;
  if (!('length' in parsed)) return 32;
  if (parsed.length > TEXT_LENGTH_MAX) return Number.POSITIVE_INFINITY;
  return 4 * parsed.length + 2;
}

export class CopiedRows {
  readonly #connection: SqlConnection;
  readonly #dialect: Dialect;
  readonly #span: WindowsOfShard;
  /** Change rows by table. */
  readonly #rows: ReadonlyMap<string, bigint>;
  readonly #copies = new Map<string, { readonly name: string; readonly columns: ReadonlySet<string> }>();
  #made = 0;

  private constructor(
    connection: SqlConnection,
    dialect: Dialect,
    span: WindowsOfShard,
    rows: ReadonlyMap<string, bigint>,
  ) {
    this.#connection = connection;
    this.#dialect = dialect;
    this.#span = span;
    this.#rows = rows;
  }

  /**
   * Looks whether the span is complete on the server; nothing is copied yet.
   * @throws TidemarkError `WINDOW_INCOMPLETE`; `DB_FAILED` for a server that would log temporary tables.
   */
  static async open(connection: SqlConnection, dialect: Dialect, span: WindowsOfShard): Promise<CopiedRows> {
    // A replica that logs something of its own is none any more.
    const { rows } = await connection.query('SELECT @@binlog_format');
    if (rows[0]?.[0] !== 'ROW') throw new TidemarkError('DB_FAILED', 'temporary tables would be logged');
    return new CopiedRows(connection, dialect, span, await checkComplete(connection, dialect, span));
  }

  /**
   * Makes the copies that are not there yet, or lack columns, and returns the names of all.
   * @throws TidemarkError `WINDOW_INCOMPLETE` if rows have gone since they were counted, and of the engine.
   */
  async cover(wanted: readonly Wanted[]): Promise<Copies> {
    for (const part of wanted) {
      const { table, columns } = part;
      const copy = this.#copies.get(table.table);
      if (columns.every((name) => copy?.columns.has(name) === true)) continue;
      const rows = Number(this.#rows.get(table.table) ?? 0n);
      const all = new Set(columnsToCopy(part, [...(copy?.columns ?? [])], rows));
      this.#made += 1;
      const name = `_tm_copy_${this.#made}`;
      await this.#copy(table, all, name);
      this.#copies.set(table.table, { name, columns: all });
    }
    return new Map([...this.#copies].map(([table, { name }]) => [table, name]));
  }

  /** Leaves the connection as it was. */
  async drop(): Promise<void> {
    if (this.#made === 0) return;
    const names = Array.from({ length: this.#made }, (_, at) => `_tm_copy_${at + 1}`);
    await this.#connection.query(`DROP TEMPORARY TABLE IF EXISTS ${names.join(', ')}`);
  }

  async #copy(table: CapturedTable, columns: ReadonlySet<string>, name: string): Promise<void> {
    const { sourceId, windows } = this.#span;
    const dialect = this.#dialect;
    const from = dialect.id(
      changeTable({ sourceId, table: table.table, schemaVersion: table.schemaVersion }),
    );
    const shown = table.columns.filter((column) => columns.has(column.name));
    const names = [...shown.map((column) => dialect.id(column.name)), dialect.id('_w')].join(', ');
    const refs = windows.map(({ window, epoch, day }) => ({ window: Number(window), epoch, day }));
    const range = inWindows(sourceId, refs);
    const { changes } = await this.#connection.query(
      `CREATE TEMPORARY TABLE ${name} ENGINE=MEMORY SELECT ${names} FROM ${from} WHERE ${range.sql}`,
      range.params,
    );
    const counted = this.#rows.get(table.table) ?? 0n;
    if (BigInt(changes) === counted || mutated('compute.copyNotCounted')) return;
    throw new TidemarkError(
      'WINDOW_INCOMPLETE',
      `${changes} of ${counted} rows of ${table.table} were copied`,
    );
  }
}
