/**
 * Connections with copies of a span's change rows, shared by the tasks of that span on this executor. Each
 * serves one task at a time, and goes when none has come for a while. That there is none is never an error:
 * then a task reads the rows themselves.
 */
import { assert, isTidemarkError, must, mutated, type Clock, type TidemarkError } from '../../base/index.ts';
import type { SqlConnection, SqlEngine } from '../../sql/index.ts';
import { releaseLock } from '../marker.ts';
import type { WindowsOfShard } from './completeness.ts';
import { CopiedRows, type Copies, type Wanted } from './copied-rows.ts';

/** So long a connection waits for the next task of its span. */
const IDLE_MS = 1_000;
/** Tasks that wait for each connection of a span before there is another: making a copy is work too. */
const WAITING_FOR_ANOTHER = 4;
/** So long it waits at most, which another report's SQL may make longer than what it saves. */
const WAIT_MS = 1_000;
/** Connections in all: others read the store too. */
const CONNECTIONS_MAX = 8;
/** So long nothing is tried at a store that makes no copies, for lack of a privilege or of memory. */
const REFUSED_MS = 60_000;
/** Errors that the next span would meet as well. */
const REFUSALS: ReadonlySet<string> = new Set(['DB_ACCESS', 'DB_FAILED']);

export interface CopyOrder {
  readonly store: SqlEngine;
  readonly span: WindowsOfShard;
  readonly wanted: readonly Wanted[];
  /** Makes the connection findable at the server while the task has it (marker.ts). */
  readonly marker: string;
  readonly signal: AbortSignal;
}

export interface CopiesLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

/** `spent`: the connection is of no use any more. */
export type CopyWork<T> = (
  connection: SqlConnection,
  copies: Copies,
) => Promise<{ readonly value: T; readonly spent: boolean }>;

interface Group {
  readonly key: string;
  readonly all: Set<Held>;
  readonly free: Held[];
  readonly waiting: ((held: Held | undefined) => void)[];
}

export class SpanCopies {
  readonly #clock: Clock;
  readonly #groups = new Map<SqlEngine, Map<string, Group>>();
  /** The columns that were wanted of a table so far, so that one copy serves all reports. */
  readonly #columns = new Map<string, ReadonlySet<string>>();
  readonly #all = new Set<Held>();
  /** Stores that made no copies, and until when they are not asked again. */
  readonly #refused = new Map<SqlEngine, number>();
  readonly #log: CopiesLog;
  #closed = false;

  constructor(clock: Clock, log: CopiesLog) {
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Runs `work` with copies of what is wanted; undefined, without running it, if there are none to be had.
   * Aborting the signal kills what the connection does at the server.
   * @throws TidemarkError what `work` throws; `CANCELLED`.
   */
  async use<T>(order: CopyOrder, work: CopyWork<T>): Promise<T | undefined> {
    const { store, span, signal } = order;
    if ((this.#refused.get(store) ?? 0) > this.#clock.monotonicMs()) return undefined;
    const group = this.#groupOf(store, keyOf(span));
    const held = await this.#take(group, order);
    if (held === undefined) return undefined;
    const abort = (): void => {
      held.abort.abort(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    let spent = true;
    try {
      const copies = await held.prepare(order.marker, this.#widened(order));
      if (isTidemarkError(copies)) {
        this.#failed(store, copies);
        return undefined;
      }
      const done = await work(held.connection, copies);
      ({ spent } = done);
      return done.value;
    } finally {
      signal.removeEventListener('abort', abort);
      if (spent || signal.aborted) {
        held.end({ spent: true });
        // Cancelled means gone, at the server too.
        await held.served;
      } else this.#giveBack(group, held);
    }
  }

  /** Ends every connection that no task has; the others end with their tasks. */
  async close(): Promise<void> {
    this.#closed = true;
    const idle = [...this.#all].filter((held) => held.idle);
    for (const held of idle) held.end();
    await Promise.all(idle.map((held) => held.served));
  }

  #groupOf(store: SqlEngine, key: string): Group {
    const groups = this.#groups.get(store) ?? new Map<string, Group>();
    this.#groups.set(store, groups);
    const group = groups.get(key) ?? { key, all: new Set(), free: [], waiting: [] };
    groups.set(key, group);
    return group;
  }

  #take(group: Group, order: CopyOrder): Promise<Held | undefined> {
    const held = group.free.pop();
    if (held !== undefined) {
      held.wake();
      return Promise.resolve(held);
    }
    const wanted = group.all.size === 0 || group.waiting.length >= WAITING_FOR_ANOTHER * group.all.size;
    if (wanted) this.#open(group, order);
    if (group.all.size === 0) {
      this.#groups.get(order.store)?.delete(group.key);
      return Promise.resolve(undefined);
    }
    return new Promise((resolve) => {
      const given = (next: Held | undefined): void => {
        cancel();
        order.signal.removeEventListener('abort', leave);
        resolve(next);
      };
      const leave = (): void => {
        group.waiting.splice(group.waiting.indexOf(given), 1);
        given(undefined);
      };
      const cancel = this.#clock.after(WAIT_MS, leave);
      group.waiting.push(given);
      order.signal.addEventListener('abort', leave, { once: true });
    });
  }

  #open(group: Group, { store, span }: CopyOrder): void {
    if (this.#closed || this.#all.size >= CONNECTIONS_MAX) return;
    const held: Held = new Held(store, span, {
      ready: () => {
        this.#giveBack(group, held);
      },
      ended: (error) => {
        this.#gone(group, held, store);
        if (error !== undefined) this.#failed(store, error);
      },
    });
    group.all.add(held);
    this.#all.add(held);
  }

  #giveBack(group: Group, held: Held): void {
    const next = group.waiting.shift();
    if (next !== undefined) {
      next(held);
      return;
    }
    if (this.#closed) {
      held.end();
      return;
    }
    group.free.push(held);
    held.rest(this.#clock, IDLE_MS);
  }

  /** A server that is away, or rows that are, say nothing of the next span. */
  #failed(store: SqlEngine, error: TidemarkError): void {
    if (!REFUSALS.has(error.code)) return;
    this.#refused.set(store, this.#clock.monotonicMs() + REFUSED_MS);
    this.#log.warn({ code: error.code, error: error.message }, 'a store makes no copies of change rows');
  }

  /** From its end on no task gets it. Without any nobody waits on: the rows themselves are there. */
  #gone(group: Group, held: Held, store: SqlEngine): void {
    this.#all.delete(held);
    group.all.delete(held);
    const at = group.free.indexOf(held);
    if (at !== -1) group.free.splice(at, 1);
    if (group.all.size > 0) return;
    this.#groups.get(store)?.delete(group.key);
    for (const waiting of group.waiting.splice(0)) waiting(undefined);
  }

  #widened({ span, wanted }: CopyOrder): Wanted[] {
    return wanted.map(({ table, columns }) => {
      const key = `${span.sourceId}/${table.table}/${table.schemaVersion}`;
      const all = new Set([...(this.#columns.get(key) ?? []), ...columns]);
      this.#columns.set(key, all);
      return { table, columns, also: [...all] };
    });
  }
}

interface HeldEvents {
  readonly ready: () => void;
  /** Called once, before the connection is given back. */
  readonly ended: (error?: TidemarkError) => void;
}

/** One connection, from its opening to its end. */
class Held {
  readonly abort = new AbortController();
  /** Resolves when its connection was given back, or is no more. */
  readonly served: Promise<void>;
  readonly #events: HeldEvents;
  idle = false;
  #ended = false;
  #connection: SqlConnection | undefined;
  #rows: CopiedRows | undefined;
  #marker: string | undefined;
  #spent = false;
  #cancelRest = (): void => undefined;
  #finish = (): void => undefined;

  constructor(store: SqlEngine, span: WindowsOfShard, events: HeldEvents) {
    this.#events = events;
    const over = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    const serve = async (connection: SqlConnection): Promise<void> => {
      this.#rows = await CopiedRows.open(connection, store.dialect, span);
      this.#connection = connection;
      events.ready();
      await over;
      await this.#clear(connection);
    };
    this.served = store.read('copied rows', serve, this.abort.signal).then(
      () => {
        this.end();
      },
      (error: unknown) => {
        if (!isTidemarkError(error)) throw error;
        this.end({ error });
      },
    );
  }

  get connection(): SqlConnection {
    return must(this.#connection, 'a connection that was opened');
  }

  /** Marks the connection and makes the copies; resolves with what made that fail, whatever it is. */
  async prepare(marker: string, wanted: readonly Wanted[]): Promise<Copies | TidemarkError> {
    try {
      const former = this.#marker === undefined ? '' : 'RELEASE_LOCK(?), ';
      const params = this.#marker === undefined ? [marker] : [this.#marker, marker];
      this.#marker = marker;
      await this.connection.query(`DO ${former}GET_LOCK(?, 0)`, params);
      return await must(this.#rows, 'rows that were counted').cover(wanted);
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      return error;
    }
  }

  /** With its connection the server drops copies and marker too: who reads is not to try elsewhere. */
  async #clear(connection: SqlConnection): Promise<void> {
    if (this.#spent) {
      connection.destroy();
      return;
    }
    try {
      if (this.#marker !== undefined) await releaseLock(connection, this.#marker);
      await this.#rows?.drop();
    } catch (error) {
      connection.destroy();
      if (!isTidemarkError(error)) throw error;
    }
  }

  rest(clock: Clock, ms: number): void {
    this.idle = true;
    this.#cancelRest = clock.after(ms, () => {
      this.end();
    });
  }

  wake(): void {
    assert(this.idle, 'a connection that a task has is not given to another');
    this.idle = false;
    this.#cancelRest();
  }

  end(how: { readonly spent?: boolean; readonly error?: TidemarkError } = {}): void {
    this.#spent ||= how.spent === true;
    this.#cancelRest();
    this.#finish();
    if (this.#ended) return;
    this.#ended = true;
    this.#events.ended(how.error);
  }
}

/** What copies are the same for: the same rows of the same server group. */
function keyOf({ sourceId, shard, windows }: WindowsOfShard): string {
  const rows = windows.map(({ window, epoch, day }) => `${window}/${epoch}/${day}`).join(' ');
  const spans = mutated('compute.copiesOfAnySpan') ? '' : rows;
  return `${sourceId} ${shard} ${spans}`;
}
