/**
 * Reads the change log of an embedded database (see embedded-capture.ts). A position is the sequence number
 * of a log row. One statement sees whole transactions only, so the end that it sees is a transaction's end.
 */
import { DECLARE_AGAIN, LIMITS, TidemarkError, assert, must, sleep, type Clock } from '../../base/index.ts';
import type { CapturedTable } from '../../job/index.ts';
import type { SqlConnection, SqlEngine, SqlValue } from '../../sql/index.ts';
import type {
  ChangeReader,
  ChangeSource,
  RowValues,
  SnapshotOptions,
  SourceEvent,
  SourceMoment,
} from '../change-source.ts';
import { rowCodec } from '../schema/column-codec.ts';
import {
  CAPTURE_LOG,
  WEIGHT_TAKEN,
  installEmbeddedCapture,
  isCaptureInstalled,
  logColumn,
} from './embedded-capture.ts';
import { secondUniqueOf } from '../schema/inspect-embedded.ts';
import type { SchemaChange } from '../schema/schema-change.ts';
import { readTables } from '../snapshot/snapshot-rows.ts';

const POLL_MS = 20;
const END_SQL = `coalesce((SELECT seq FROM sqlite_sequence WHERE name = '${CAPTURE_LOG}'), 0)`;
const TIME_SQL = `SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)`;

export class EmbeddedSource implements ChangeSource {
  readonly hasChunks = false;
  readonly #engine: SqlEngine;
  readonly #tables: readonly CapturedTable[];
  readonly #clock: Clock;
  readonly #connections = new Set<SqlConnection>();
  #control: Promise<SqlConnection> | undefined;

  constructor(engine: SqlEngine, tables: readonly CapturedTable[], clock: Clock) {
    this.#engine = engine;
    this.#tables = tables;
    this.#clock = clock;
  }

  async snapshot(
    onRows: (table: number, rows: readonly RowValues[]) => Promise<boolean>,
    options: SnapshotOptions = {},
  ): Promise<SourceMoment> {
    await installEmbeddedCapture(this.#engine, this.#tables);
    const connection = await this.#connect('snapshot');
    const timeMs = Number(await scalar(connection, TIME_SQL));
    await connection.begin('snapshot');
    const end = await scalar(connection, `SELECT ${END_SQL}`);
    const moment = { timeMs, position: String(end) };
    if ((await options.begun?.(moment)) ?? true) {
      await readTables(connection, this.#engine.dialect, this.#tables, onRows, options);
    }
    await connection.commit();
    await this.#disconnect(connection);
    return moment;
  }

  async read(position: string): Promise<ChangeReader> {
    const connection = await this.#connect('capture');
    const check = async (): Promise<void> => {
      for (const { table } of this.#tables) {
        const index = await secondUniqueOf(connection, table);
        if (index === undefined) continue;
        throw new TidemarkError('SCHEMA_CHANGED', `captured table ${table} got a ${index}`, {
          next: `REPLACE may have removed rows for its sake. Drop it. ${DECLARE_AGAIN}`,
        });
      }
      if (await isCaptureInstalled(connection, this.#engine.dialect, this.#tables)) return;
      throw new TidemarkError(
        'SCHEMA_CHANGED',
        'the triggers that capture changes are not as they were made',
        {
          next: `A captured table was altered or dropped. ${DECLARE_AGAIN}`,
        },
      );
    };
    await check();
    const reader = new EmbeddedReader(connection, this.#tables, this.#clock, BigInt(position), check);
    return { next: (waitMs) => reader.next(waitMs), close: () => this.#disconnect(connection) };
  }

  /** The triggers name the columns that they copy. */
  compared(): Promise<readonly SchemaChange[]> {
    return Promise.resolve([]);
  }

  /** Its reader never tells of a definition. */
  redefined(): Promise<readonly SchemaChange[]> {
    return Promise.resolve([]);
  }

  adopt(changes: readonly SchemaChange[]): void {
    assert(changes.length === 0, 'an embedded source has one schema version');
  }

  /** Asks for the time first: a statement's own time may be later than what it sees. */
  async head(): Promise<SourceMoment> {
    this.#control ??= this.#connect('control');
    const connection = await this.#control;
    const timeMs = Number(await scalar(connection, TIME_SQL));
    return { timeMs, position: String(await scalar(connection, `SELECT ${END_SQL}`)) };
  }

  includes(position: string, other: string): boolean {
    return BigInt(position) >= BigInt(other);
  }

  async discard(position: string): Promise<void> {
    await this.#engine.use('capture log', async (connection) => {
      await connection.query(`DELETE FROM ${CAPTURE_LOG} WHERE seq <= ?`, [BigInt(position)]);
    });
  }

  close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    this.#connections.clear();
    return Promise.resolve();
  }

  async #connect(purpose: string): Promise<SqlConnection> {
    const connection = await this.#engine.connect({ purpose });
    this.#connections.add(connection);
    return connection;
  }

  async #disconnect(connection: SqlConnection): Promise<void> {
    if (this.#connections.delete(connection)) await connection.close();
  }
}

/** Delivers the log's rows after a sequence number, and a commit at the end that each look has seen. */
class EmbeddedReader {
  readonly #connection: SqlConnection;
  readonly #tables: readonly {
    readonly convert: (values: readonly unknown[]) => RowValues;
    readonly keyAt: readonly number[];
  }[];
  readonly #tableAt: ReadonlyMap<SqlValue, number>;
  readonly #select: string;
  readonly #clock: Clock;
  readonly #check: () => Promise<void>;
  #read: bigint;
  #end: bigint;
  #schemaVersion: SqlValue = null;
  /** Rows that held the key of the insert that may follow; see embedded-capture.ts. */
  #taken: { readonly table: number; readonly row: RowValues }[] = [];

  constructor(
    connection: SqlConnection,
    tables: readonly CapturedTable[],
    clock: Clock,
    position: bigint,
    check: () => Promise<void>,
  ) {
    this.#connection = connection;
    this.#clock = clock;
    this.#check = check;
    this.#read = position;
    this.#end = position;
    this.#tables = tables.map((table) => ({
      convert: rowCodec(table),
      keyAt: table.primaryKey.map((key) => table.columns.findIndex((column) => column.name === key)),
    }));
    this.#tableAt = new Map(tables.map((table, at) => [table.table, at]));
    const width = Math.max(...tables.map((table) => table.columns.length));
    const columns = Array.from({ length: width }, (_, at) => logColumn(at)).join(', ');
    this.#select =
      `SELECT seq, t, w, ${columns} FROM ${CAPTURE_LOG} WHERE seq > ? AND seq <= ? ORDER BY seq ` +
      `LIMIT ${LIMITS.sourceReadRowsMax}`;
  }

  async next(waitMs: number): Promise<readonly SourceEvent[]> {
    const deadline = this.#clock.monotonicMs() + waitMs;
    while (this.#read === this.#end) {
      await this.#look();
      if (this.#read < this.#end) break;
      if (this.#clock.monotonicMs() >= deadline) return [];
      await sleep(this.#clock, POLL_MS);
    }
    return this.#chunk();
  }

  async #look(): Promise<void> {
    const { rows } = await this.#connection.query(
      `SELECT ${END_SQL}, (SELECT schema_version FROM pragma_schema_version)`,
    );
    const [end, version] = must(rows[0], 'one row');
    if (version !== this.#schemaVersion) await this.#check();
    this.#schemaVersion = version ?? null;
    if (typeof end !== 'bigint' || end < this.#read)
      throw purged(`the log ends at ${String(end)}, before ${this.#read}`);
    this.#end = end;
  }

  async #chunk(): Promise<readonly SourceEvent[]> {
    const { rows } = await this.#connection.query(this.#select, [this.#read, this.#end]);
    const events: SourceEvent[] = [];
    for (const row of rows) {
      if (row[0] !== this.#read + 1n) throw purged(`row ${this.#read + 1n} is gone`);
      this.#read += 1n;
      this.#append(events, row);
    }
    const complete = this.#read === this.#end;
    if (!complete && rows.length < LIMITS.sourceReadRowsMax) throw purged(`row ${this.#read + 1n} is gone`);
    if (complete) events.push({ type: 'commit', position: String(this.#end) });
    return events;
  }

  #append(events: SourceEvent[], logged: readonly SqlValue[]): void {
    const at = this.#tableAt.get(logged[1] ?? null);
    const table = at === undefined ? undefined : this.#tables[at];
    // A table that an earlier job captured still has its triggers.
    if (at === undefined || table === undefined) return;
    const row = table.convert(logged.slice(3));
    if (logged[2] === BigInt(WEIGHT_TAKEN)) {
      this.#taken.push({ table: at, row });
      return;
    }
    const weight = logged[2] === 1n ? 1 : -1;
    if (weight === 1) {
      for (const taken of this.#taken) {
        const replaced = taken.table === at && table.keyAt.every((key) => same(taken.row[key], row[key]));
        if (replaced) events.push({ type: 'change', table: at, weight: -1, row: taken.row });
      }
    }
    this.#taken = [];
    events.push({ type: 'change', table: at, weight, row });
  }
}

function same(a: SqlValue | undefined, b: SqlValue | undefined): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.compare(a, b) === 0 : a === b;
}

function purged(detail: string): TidemarkError {
  return new TidemarkError(
    'BINLOG_PURGED',
    `the source's change log does not reach back far enough: ${detail}`,
    {
      next: DECLARE_AGAIN,
    },
  );
}

async function scalar(connection: SqlConnection, sql: string): Promise<SqlValue> {
  const { rows } = await connection.query(sql);
  return must(rows[0]?.[0], sql);
}
