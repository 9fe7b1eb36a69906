/**
 * Writes change rows to one store shard. Rows are buffered, written in batches on one connection in the order
 * they came, and acknowledged only after their transaction has committed; a window's mark is written after
 * all of its rows (design 6.4). Batches that wait when one is written share its transaction: a store that is
 * slow to sync does so less often.
 */
import {
  AssertionError,
  LIMITS,
  TidemarkError,
  assert,
  failpoint,
  isTidemarkError,
  mutated,
  sleep,
  toTidemarkError,
  type Clock,
} from '../../base/index.ts';
import {
  CHANGE_COLUMNS,
  MARK_COLUMNS,
  MARK_TABLE,
  changeTable,
  type CapturedTable,
} from '../../job/index.ts';
import type { SqlConnection, SqlEngine, SqlParam } from '../../sql/index.ts';
import type { RowValues } from '../change-source.ts';
import { RowChecksum } from './row-checksum.ts';

/** What a window has put on one shard so far. */
export interface ShardWindow {
  readonly window: number;
  readonly day: string;
  rows: number;
  bytes: number;
  readonly checksum: RowChecksum;
}

export interface StoreWriterOptions {
  readonly engine: SqlEngine;
  readonly sourceId: number;
  readonly epoch: bigint;
  readonly tables: readonly CapturedTable[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface Target {
  readonly name: string;
  readonly columns: readonly string[];
}

/** What is written and acknowledged as one: rows of each table, or a mark. */
interface Batch {
  readonly rows: number;
  readonly bytes: number;
  readonly write: (connection: SqlConnection) => Promise<void>;
  /** Resolves when it has been committed, or has failed with the writer. */
  readonly over: Promise<void>;
  readonly end: () => void;
}

const BUSY_RETRIES_MAX = 20;
const BUSY_PAUSE_MS = 50;

export class StoreWriter {
  readonly #options: StoreWriterOptions;
  #targets: readonly Target[];
  #connection: SqlConnection | undefined;
  #buffers: SqlParam[][][];
  #buffered = 0;
  #bufferedBytes = 0;
  #unwrittenBytes = 0;
  #unwritten = 0;
  /** In the order they came, those that are being written first. After a failure all later ones fail. */
  readonly #batches: Batch[] = [];
  #writing = false;
  #failure: Error | undefined;

  constructor(options: StoreWriterOptions) {
    this.#options = options;
    this.#targets = targetsOf(options.sourceId, options.tables);
    this.#buffers = options.tables.map(() => []);
  }

  /** Writes to the change tables of these schema versions from here on; what was taken goes to the former. */
  redefine(tables: readonly CapturedTable[]): void {
    if (this.#buffered > 0) this.#write();
    this.#targets = targetsOf(this.#options.sourceId, tables);
  }

  /** Opens a window on this shard. Its day is fixed here, so that its rows share one key prefix. */
  open(window: number, day: string): ShardWindow {
    return { window, day, rows: 0, bytes: 0, checksum: new RowChecksum() };
  }

  /** Takes one row into `window`. Never waits: the caller awaits {@link ready} between batches. */
  add(window: ShardWindow, table: number, weight: 1 | -1, row: RowValues): void {
    const buffer = this.#buffers[table];
    assert(buffer !== undefined, 'a change names a captured table');
    const epoch = mutated('collector.rowsWithoutEpoch') ? 1n : this.#options.epoch;
    const bytes = rowBytes(row);
    window.rows += 1;
    window.bytes += bytes;
    window.checksum.add(`${table}:${weight}`, row);
    buffer.push([this.#options.sourceId, epoch, window.day, window.window, window.rows, weight, ...row]);
    this.#buffered += 1;
    this.#bufferedBytes += bytes;
    const isFull =
      this.#buffered >= LIMITS.storeWriteRowsMax || this.#bufferedBytes >= LIMITS.storeWriteBytesMax;
    if (isFull) this.#write();
  }

  /** Resolves when few enough rows wait that more may come. Rejects after any failed write. */
  async ready(): Promise<void> {
    const awaited = mutated('collector.readsOnWhenAllIsWritten') ? -1 : 0;
    while (this.#isBehind() && this.#failure === undefined) await this.#batches.at(awaited)?.over;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Resolves when every row taken so far has been acknowledged by the store. */
  async acknowledged(): Promise<void> {
    if (this.#buffered > 0) this.#write();
    await this.#batches.at(-1)?.over;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Writes the window's mark; call it after {@link acknowledged}. */
  async mark(window: ShardWindow): Promise<void> {
    const { sourceId, epoch } = this.#options;
    const row = [sourceId, epoch, window.window, window.rows, window.checksum.toString()];
    await this.#enqueue((connection) => connection.insertRows(MARK_TABLE, MARK_COLUMNS, [row]), 0, 0);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Drops the connection, whatever it is doing. Nothing is written afterwards. */
  destroy(): void {
    this.#failure ??= new TidemarkError('CANCELLED', 'the collector was stopped');
    this.#connection?.destroy();
  }

  #write(): void {
    const targets = this.#targets;
    const buffers = this.#buffers;
    const count = this.#buffered;
    const bytes = this.#bufferedBytes;
    this.#buffers = this.#targets.map(() => []);
    this.#buffered = 0;
    this.#bufferedBytes = 0;
    void this.#enqueue(
      async (connection) => {
        for (const [table, rows] of buffers.entries()) {
          const target = targets[table];
          if (rows.length === 0 || target === undefined) continue;
          await connection.insertRows(target.name, target.columns, rows);
        }
      },
      count,
      bytes,
    );
  }

  #isBehind(): boolean {
    return (
      this.#unwritten + this.#buffered > LIMITS.storeRowsWaitingMax ||
      this.#unwrittenBytes + this.#bufferedBytes > LIMITS.storeBytesWaitingMax
    );
  }

  #enqueue(write: Batch['write'], rows: number, bytes: number): Promise<void> {
    this.#unwritten += rows;
    this.#unwrittenBytes += bytes;
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#batches.push({ rows, bytes, write, over, end });
    if (!this.#writing) void this.#writeAll();
    return over;
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#batches.length > 0) {
      let written = this.#batches.length;
      if (this.#failure === undefined) {
        try {
          written = await this.#commit();
        } catch (error) {
          this.#failure = error instanceof AssertionError ? error : toTidemarkError(error);
        }
      }
      for (const { rows, bytes, end } of this.#batches.splice(0, written)) {
        this.#unwritten -= rows;
        this.#unwrittenBytes -= bytes;
        end();
      }
    }
    this.#writing = false;
  }

  /**
   * Writes the first batches as one transaction, those included that come meanwhile, and returns how many.
   * Only a transaction that is known to be rolled back is tried again: rows of this epoch must never be
   * written twice.
   */
  async #commit(): Promise<number> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const connection = await this.#begun();
        const written = await this.#writeBatches(connection);
        await failpoint('collector.beforeStoreCommit', { epoch: String(this.#options.epoch) });
        await connection.commit();
        return written;
      } catch (error) {
        this.#connection?.destroy();
        this.#connection = undefined;
        if (!isTidemarkError(error, 'DB_BUSY') || attempt >= BUSY_RETRIES_MAX) throw error;
        await sleep(this.#options.clock, BUSY_PAUSE_MS, this.#options.signal);
        if (this.#failure !== undefined) throw this.#failure;
      }
    }
  }

  async #writeBatches(connection: SqlConnection): Promise<number> {
    let written = 0;
    let rows = 0;
    for (let batch = this.#batches[0]; batch !== undefined; batch = this.#batches[written]) {
      if (written > 0 && rows + batch.rows > LIMITS.storeCommitRowsMax) break;
      if (written > 0 && mutated('collector.batchesCommitAlone')) break;
      await batch.write(connection);
      rows += batch.rows;
      written += 1;
    }
    return written;
  }

  /** Begins a transaction. A connection that the server has dropped for its silence had nothing under way. */
  async #begun(): Promise<SqlConnection> {
    const { engine, signal } = this.#options;
    const reused = this.#connection !== undefined;
    this.#connection ??= await engine.connect({ purpose: 'collector', signal });
    try {
      await this.#connection.begin('write');
    } catch (error) {
      if (!reused || !isTidemarkError(error, 'DB_UNREACHABLE') || signal.aborted) throw error;
      this.#connection = await engine.connect({ purpose: 'collector', signal });
      await this.#connection.begin('write');
    }
    return this.#connection;
  }
}

function targetsOf(sourceId: number, tables: readonly CapturedTable[]): Target[] {
  return tables.map(({ table, schemaVersion, columns }) => ({
    name: changeTable({ sourceId, table, schemaVersion }),
    columns: [...CHANGE_COLUMNS, ...columns.map((column) => column.name)],
  }));
}

function rowBytes(row: RowValues): number {
  let bytes = 16;
  for (const value of row) {
    bytes += typeof value === 'string' || value instanceof Uint8Array ? value.length : 8;
  }
  return bytes;
}
