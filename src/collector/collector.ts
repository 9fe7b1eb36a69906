/**
 * The collector of one source: from its change log to sealed windows (design 6.3, 6.4, 6.5 simple form).
 *
 * One window after the other: its rows are acknowledged by the store, then marked, then sealed by the log of
 * the cluster. While a seal is under way the next window already takes rows; seals stay in order. Whatever
 * goes wrong ends the collector with a code: only a new epoch may read again, because rows of an epoch must
 * never be written twice.
 */
import {
  LIMITS,
  TidemarkError,
  assert,
  failpoint,
  isTidemarkError,
  mutated,
  sleep,
  toTidemarkError,
  type Clock,
} from '../base/index.ts';
import type { CapturedTable, CompiledSource } from '../job/index.ts';
import type { SealedWindow } from '../wire/index.ts';
import { captureLost } from './snapshot/capture-again.ts';
import type { ChangeReader, ChangeSource, SourceEvent, SourceMoment } from './change-source.ts';
import type { CollectorOptions } from './collector-options.ts';
import { Covers } from './covers.ts';
import { cutDecision, type CutRule } from './cut-rule.ts';
import type { SchemaChange } from './schema/schema-change.ts';
import { type ShardedStore, type StoreWindow } from './store/sharded-store.ts';
import { copyChunk } from './snapshot/copy-chunk.ts';
import { FormerRows } from './snapshot/former-rows.ts';
import { SnapshotProgress, chunkStands } from './snapshot/snapshot-progress.ts';
import { untilAborted } from './until-aborted.ts';

const IDLE_SEAL_MS = 5_000;
const MOMENT_EVERY_MS = 100;
const READ_WAIT_MS = 25;
const DISCARD_EVERY_MS = 1_000;
const SEAL_RETRY_MS = 100;

/** Where a collector has stopped: behind its last sealed window. */
export interface StoppedAt {
  readonly lastWindow: number;
  readonly position: string;
  /** The captured tables as they are there. */
  readonly tables: readonly CapturedTable[];
}

interface OpenWindow {
  readonly window: number;
  readonly from: string;
  readonly openedMs: number;
  readonly stored: StoreWindow;
  to: string;
  insideTransaction: boolean;
}

export class Collector {
  readonly #options: CollectorOptions;
  readonly #changes: ChangeSource;
  readonly #store: ShardedStore;
  readonly #openOthers: (source: CompiledSource) => ChangeSource;
  readonly #rule: CutRule;
  readonly #includes: (position: string, other: string) => boolean;
  readonly #covers: Covers;
  /** With the schema versions that the open window is captured under. */
  #source: CompiledSource;
  readonly #progress: SnapshotProgress;
  /** In a re-snapshot, what the rows that are read take the place of. */
  readonly #former: FormerRows | undefined;
  /** Read already, and behind the place in the log that a chunk is read at. */
  #pending: readonly SourceEvent[] = [];
  #window: OpenWindow;
  #nextMomentMs = 0;
  #nextDiscardMs = 0;
  #sealing: Promise<void> = Promise.resolve();
  #sealsInFlight = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    options: CollectorOptions,
    changes: ChangeSource,
    store: ShardedStore,
    open: (source: CompiledSource) => ChangeSource,
  ) {
    const { lengthMs, rowsMax, bytesMax } = options.source.window;
    this.#options = options;
    this.#changes = changes;
    this.#store = store;
    this.#openOthers = open;
    this.#rule = {
      lengthMs,
      rowsMax: Math.min(rowsMax, LIMITS.windowRowsMax),
      bytesMax: Math.min(bytesMax, LIMITS.windowBytesMax),
      idleMs: options.idleSealMs ?? IDLE_SEAL_MS,
    };
    this.#source = options.source;
    const { rowStates, clock, signal } = options;
    const begins = options.lastWindow === 0 || (rowStates !== undefined && options.cursor === '');
    this.#progress = new SnapshotProgress(options.source.tables, begins ? undefined : options.cursor);
    if (rowStates !== undefined) this.#former = new FormerRows(rowStates, clock, signal);
    this.#includes = (position, other) => changes.includes(position, other);
    this.#covers = new Covers(this.#includes);
    this.#window = this.#open(options.lastWindow + 1, options.position);
  }

  /**
   * With `until`, a position of the log, it ends there, behind a sealed window. `known` is what is known of
   * tables by where it begins.
   */
  async run(until?: string, known: readonly SchemaChange[] = []): Promise<StoppedAt | undefined> {
    const { lastWindow, epoch, leaderTerm, source, signal, log } = this.#options;
    log.info(
      { source: source.name, epoch: String(epoch), leaderTerm: String(leaderTerm), lastWindow },
      'collecting',
    );
    // A predecessor may have ended between a schema version and the tables of it.
    if (source.tables.some(({ schemaVersion }) => schemaVersion > 1)) await this.#store.redefine(source);
    if (lastWindow === 0) await this.#snapshot();
    await captureLost({
      ...this.#options,
      day: dayOf(this.#options.clock),
      changes: this.#changes,
      open: this.#openOthers,
      store: this.#store,
      propose: (work) => this.#answered('reseal', work),
    });
    if (this.#former !== undefined && this.#options.cursor === '') await this.#leap();
    await this.#adopt(known);
    let from = this.#window.to;
    while (!signal.aborted) {
      if (until !== undefined && this.#changes.includes(from, until)) return await this.#stopHere();
      await this.#standOnStates();
      const everyEnd = (): boolean => until !== undefined || !this.#progress.finished;
      const reader = await this.#changes.read(from, { everyEnd });
      try {
        from = await this.#follow(reader, until);
      } catch (error) {
        if (isTidemarkError(error, 'SCHEMA_CHANGED', 'SOURCE_UNTELLABLE')) await this.#sealRest();
        throw error;
      } finally {
        await reader.close();
      }
    }
    return undefined;
  }

  /** Seals what was read; what comes next belongs to another. */
  async #stopHere(): Promise<StoppedAt> {
    if (this.#isBehindItsStart()) await this.#cut();
    await this.#sealed();
    const { window, from: position } = this.#window;
    return { lastWindow: window - 1, position, tables: this.#source.tables };
  }

  /** Reads until a definition comes, and has followed that, or up to `until`; returns where to read on. */
  async #follow(reader: ChangeReader, until: string | undefined): Promise<string> {
    const { signal } = this.#options;
    let from: string | undefined;
    while (!signal.aborted && from === undefined) {
      from = await (this.#progress.finished ? this.#turn(reader, until) : this.#chunk(reader));
      const { to, insideTransaction } = this.#window;
      if (until !== undefined && !insideTransaction && this.#changes.includes(to, until)) return to;
    }
    return from ?? '';
  }

  /**
   * Begins new schema versions where the log has a definition (design 6.3): what came before it is sealed
   * under the old ones, and the new ones are replicated before anything is written under them.
   */
  async #adopt(changes: readonly SchemaChange[]): Promise<void> {
    if (changes.length === 0) return;
    assert(!this.#window.insideTransaction, 'a definition is a transaction of its own');
    if (this.#isBehindItsStart() && !mutated('collector.definitionInsideWindow')) await this.#cut();
    await this.#sealed();
    for (const change of changes) {
      const { table, schemaVersion } = change.after;
      const detail = { source: String(this.#options.sourceId), table, version: String(schemaVersion) };
      await failpoint('collector.beforeSchema', detail);
      const tables = this.#source.tables.map((one) => (one.table === table ? change.after : one));
      const source = { ...this.#source, tables };
      await this.#answered('schema version', () => this.#options.addSchema(change, source));
      this.#source = source;
      const broken = change.broken.map(({ column, why }) => `${column}: ${why}`);
      this.#options.log.info({ source: source.name, table, schemaVersion, broken }, 'a table was altered');
    }
    this.#changes.adopt(changes);
    this.#progress.redefine(this.#source.tables);
    await this.#store.redefine(this.#source);
  }

  /** Seals what came before something that nobody can read: a successor would end there before it did. */
  async #sealRest(): Promise<void> {
    if (this.#window.insideTransaction || !this.#progress.finished || !this.#isBehindItsStart()) return;
    if (mutated('collector.stuckRowsUnsealed')) return;
    await this.#cut();
    await this.#sealed();
  }

  /**
   * Whether anything was read in the open window, stored or not: a successor would read it again, under the
   * new definition. Images of rows that are not copied yet are read and not stored.
   */
  #isBehindItsStart(): boolean {
    const { from, to, stored } = this.#window;
    return mutated('collector.unstoredRowsReadAgain') ? stored.rows > 0 : to !== from;
  }

  /** Window 1: the first chunk of the snapshot. Nothing of the log counts before it. */
  async #snapshot(): Promise<void> {
    await this.#adopt(await this.#changes.compared());
    const moment = await this.#copy(() => Promise.resolve(true));
    const [altered] = await this.#changes.compared();
    if (altered !== undefined) {
      throw new TidemarkError('DB_BUSY', `${altered.before.table} was altered while it was read`);
    }
    this.#window.to = moment.position;
    this.#covers.add(moment);
    await this.#cut();
    await this.#sealed();
  }

  /**
   * The next chunk of the snapshot (design 6.5): the log is read up to the chunk's position, without the
   * images of rows that are not copied yet; there the chunk's rows enter. Returns where to read on when a
   * definition came first.
   */
  async #chunk(reader: ChangeReader): Promise<string | undefined> {
    // What was read of a transaction counts as read only at its end.
    if (this.#window.insideTransaction) return this.#turn(reader);
    const met: { definition?: string; older?: true } = {};
    await this.#copy(async ({ position }) => {
      const stands = (): string => chunkStands(this.#includes, this.#window.to, position);
      while (stands() === 'ahead') {
        this.#options.signal.throwIfAborted();
        const from = await this.#turn(reader, position);
        if (from === undefined) continue;
        met.definition = from;
        return false;
      }
      if (stands() === 'here') return true;
      this.#options.log.info({ source: this.#source.name, position }, 'a chunk is older than what was read');
      met.older = true;
      return false;
    });
    if (met.older === true && !mutated('collector.readsOnAfterOlderChunk')) return this.#standStill();
    return met.definition ?? this.#turn(reader);
  }

  /**
   * Lets the source commit what was read of it already: reading on meanwhile would leave the next chunk as
   * far behind, for as long as there are writers.
   */
  async #standStill(): Promise<undefined> {
    if (this.#failure !== undefined) throw this.#failure.error;
    await sleep(this.#options.clock, READ_WAIT_MS, this.#options.signal);
    await this.#cutIfDue();
  }

  /** Reads one chunk into the open window, as of a position that `begun` is told first. */
  #copy(begun: (moment: SourceMoment) => Promise<boolean>): Promise<SourceMoment> {
    return copyChunk({
      changes: this.#changes,
      progress: this.#progress,
      tables: this.#source.tables,
      former: this.#former,
      add: (table, weight, row) => {
        this.#store.add(this.#window.stored, table, weight, row);
      },
      ready: () => this.#store.ready(),
      chunkRows: this.#options.chunkRows ?? LIMITS.snapshotChunkRowsMax,
      signal: this.#options.signal,
      begun,
    });
  }

  /**
   * Begins a re-snapshot: the chain leaps over what no log shows any more, to where the log is now. What
   * happened in between is in the difference between the row states and what is read from here on.
   */
  async #leap(): Promise<void> {
    await this.#adopt(await this.#changes.compared());
    const { position } = await this.#changes.head();
    const [altered] = await this.#changes.compared();
    if (altered !== undefined) {
      throw new TidemarkError('DB_BUSY', `${altered.before.table} was altered while its source was read`);
    }
    if (position === '') throw new TidemarkError('BINLOG_NO_GTID', 'the binlog holds no transaction yet');
    this.#window.to = position;
  }

  /** In a re-snapshot, before reading on: seals a window under the present definitions, to compare with. */
  async #standOnStates(): Promise<void> {
    if (this.#former === undefined || this.#progress.finished) return;
    if (this.#former.standsOn(this.#source)) return;
    const { window } = this.#window;
    await this.#cut();
    await this.#sealed();
    this.#options.log.info({ source: this.#source.name, window }, 'waiting for the row states');
    await this.#former.reach(this.#source, window);
  }

  /** Returns where to read on when the reader has come to a definition; ends early behind `until`. */
  async #turn(reader: ChangeReader, until?: string): Promise<string | undefined> {
    if (this.#failure !== undefined) throw this.#failure.error;
    await this.#ask();
    const events = this.#pending.length > 0 ? this.#pending : await reader.next(READ_WAIT_MS);
    this.#pending = [];
    if (events.length > 0) await failpoint('collector.afterRead', readSoFar(this.#window, events));
    for (const [at, event] of events.entries()) {
      if (event.type === 'definition') {
        await this.#adopt(await this.#changes.redefined(event.statement, event.position));
        this.#window.to = event.position;
        return event.position;
      }
      this.#take(event);
      // A backlog comes in large reads: a window ends inside of one as soon as it is full.
      if (this.#decide(this.#window.openedMs) === 'full') await this.#cut();
      if (until !== undefined && event.type === 'commit' && this.#changes.includes(event.position, until)) {
        this.#pending = events.slice(at + 1);
        return undefined;
      }
    }
    await this.#cutIfDue();
    return undefined;
  }

  async #cutIfDue(): Promise<void> {
    await this.#store.ready();
    const decision = this.#decide(this.#options.clock.monotonicMs());
    // A slow seal makes the next window longer, unless that is full.
    if (decision === 'due' && this.#sealsInFlight === 0) await this.#cut();
  }

  #decide(nowMs: number): ReturnType<typeof cutDecision> {
    const { stored, openedMs, insideTransaction } = this.#window;
    return cutDecision(this.#rule, {
      rows: stored.rows,
      bytes: stored.bytes,
      openMs: nowMs - openedMs,
      insideTransaction,
    });
  }

  /** Notes the source's time and the end of its log, a few times a second. */
  async #ask(): Promise<void> {
    const now = this.#options.clock.monotonicMs();
    if (now < this.#nextMomentMs) return;
    this.#nextMomentMs = now + MOMENT_EVERY_MS;
    this.#covers.add(await this.#changes.head());
  }

  #take(event: Exclude<SourceEvent, { type: 'definition' }>): void {
    const window = this.#window;
    if (event.type === 'change') {
      if (this.#progress.finished || this.#progress.holds(event.table, event.row)) {
        this.#store.add(window.stored, event.table, event.weight, event.row);
      }
      window.insideTransaction = true;
    } else {
      window.to = event.position;
      window.insideTransaction = false;
    }
  }

  /** Ends the open window and opens the next; the ended one is finished in the background, in order. */
  async #cut(): Promise<void> {
    await this.#sealed();
    const ended = this.#window;
    this.#window = this.#open(ended.window + 1, ended.to);
    this.#sealsInFlight += 1;
    this.#sealing = this.#finish(ended, this.#source.tables, this.#progress.cursor).then(
      () => {
        this.#sealsInFlight -= 1;
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
  }

  async #sealed(): Promise<void> {
    await this.#sealing;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #open(window: number, from: string): OpenWindow {
    const { clock } = this.#options;
    const day = dayOf(clock);
    return {
      window,
      from,
      openedMs: clock.monotonicMs(),
      stored: this.#store.open(window, day),
      to: from,
      insideTransaction: false,
    };
  }

  /** Rows acknowledged, then the mark, then the seal: who sees a seal finds its rows (design 6.4). */
  async #finish(ended: OpenWindow, tables: readonly CapturedTable[], cursor: string): Promise<void> {
    const { sourceId, epoch } = this.#options;
    const detail = {
      source: String(sourceId),
      window: String(ended.window),
      epoch: String(epoch),
      rows: String(ended.stored.rows),
    };
    // Until everything is copied, nothing is complete up to any moment; of added tables there is no report.
    const isWhole = cursor === '' || this.#options.formerTables > 0;
    const coversMs = isWhole ? this.#covers.upTo(ended.to) : 0;
    await this.#store.acknowledged();
    await failpoint('collector.beforeMark', detail);
    await this.#store.mark(ended.stored);
    await failpoint('collector.beforeSeal', detail);
    const window: SealedWindow = {
      window: BigInt(ended.window),
      epoch,
      from: ended.from,
      to: ended.to,
      day: ended.stored.day,
      coversMs: BigInt(coversMs),
      topologyVersion: this.#options.topology.version,
      shards: this.#store.sealed(ended.stored),
      schemaVersions: tables.map(({ table, schemaVersion }) => ({ table, version: schemaVersion })),
    };
    await this.#answered('seal', () => this.#options.seal(window, cursor));
    await failpoint('collector.afterSeal', detail);
    this.#discard(ended.to);
  }

  /** Proposes the same until it is answered: it may have been accepted although the answer was lost. */
  async #answered(what: string, propose: () => Promise<void>): Promise<void> {
    const { clock, signal, log } = this.#options;
    for (;;) {
      try {
        await untilAborted(propose(), signal);
        return;
      } catch (error) {
        const coded = toTidemarkError(error);
        if (signal.aborted || coded.retry === 'never') throw coded;
        log.warn({ code: coded.code }, `${what} not answered yet`);
        await sleep(clock, SEAL_RETRY_MS, signal);
      }
    }
  }

  /**
   * Lets the source drop what is sealed. Nothing waits for it: an embedded source may be locked by a writer
   * for seconds, and is then asked again after a later window.
   */
  #discard(position: string): void {
    const now = this.#options.clock.monotonicMs();
    if (now < this.#nextDiscardMs) return;
    this.#nextDiscardMs = Number.POSITIVE_INFINITY;
    this.#changes.discard(position).then(
      () => {
        this.#nextDiscardMs = now + DISCARD_EVERY_MS;
      },
      (error: unknown) => {
        this.#nextDiscardMs = now + DISCARD_EVERY_MS;
        if (isTidemarkError(error) && error.retry !== 'never') {
          this.#options.log.warn({ code: error.code }, 'sealed rows of the change log stay for now');
        } else {
          this.#failure ??= { error };
        }
      },
    );
  }
}

/** What has been read of the open window with these events, and whether they come inside a transaction. */
function readSoFar(window: OpenWindow, events: readonly SourceEvent[]): Record<string, string> {
  const rows = window.stored.rows + events.filter(({ type }) => type === 'change').length;
  return { rows: String(rows), inside: String(window.insideTransaction) };
}

/** Fixed when a window opens: its rows share one key prefix. */
function dayOf(clock: Clock): string {
  return new Date(clock.wallMs()).toISOString().slice(0, 10);
}
