/**
 * Hands committed entries to the state machine in order, in groups, one group at a time.
 *
 * A state machine that answers before its disk may end a group without a turn of the event loop, and so do
 * entries that are still in memory: thousands of them, after a pause or at a start, would hold heartbeats and
 * timers up. So after a few milliseconds a turn is left to the rest.
 */
import { LIMITS, assert, logIndex, must, mutated, type Clock, type LogIndex } from '../../base/index.ts';
import type { RaftCore, SliceLimit } from '../core/index.ts';
import type { Entry } from '../entry.ts';
import type { LogStore } from '../log-store/index.ts';
import type { ReplicatedStateMachine } from '../types.ts';

const GROUP: SliceLimit = { entries: LIMITS.raftApplyEntriesMax, bytes: LIMITS.raftApplyBytesMax };

export interface ApplierParts {
  readonly core: Pick<RaftCore, 'applicableIndex' | 'entries'>;
  readonly store: Pick<LogStore, 'read'>;
  readonly stateMachine: ReplicatedStateMachine;
  readonly clock: Clock;
  /** Runs something in a later turn of the event loop. */
  readonly laterTurn: (run: () => void) => void;
  /** Called after each group. */
  readonly onApplied: (entries: readonly Entry[], replies: readonly Uint8Array[]) => void;
  readonly onFatal: (error: unknown) => void;
}

export class Applier {
  readonly #parts: ApplierParts;
  #applied: LogIndex;
  #running: Promise<void> | undefined;
  #stopped = false;
  #paused = false;

  constructor(parts: ApplierParts) {
    this.#parts = parts;
    this.#applied = logIndex(parts.stateMachine.appliedIndex);
  }

  /** Hears of a failure of what was applied before: at once, if there has been one. */
  listen(): void {
    this.#parts.stateMachine.whenFailed?.((error) => {
      this.#fail(error);
    });
  }

  get appliedIndex(): LogIndex {
    return this.#applied;
  }

  /** Looks whether there is something to apply. */
  kick(): void {
    if (this.#running !== undefined || !this.#mayRun || this.#applied >= this.#parts.core.applicableIndex)
      return;
    this.#running = this.#run();
  }

  /** Starts no more groups until {@link resume}, and resolves when the one under way has been applied. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.#running;
  }

  /** Goes on after what the state machine has, by a snapshot or as before. */
  resume(): void {
    this.#paused = false;
    this.#applied = logIndex(this.#parts.stateMachine.appliedIndex);
    this.kick();
  }

  get #mayRun(): boolean {
    return !this.#stopped && !this.#paused;
  }

  /** Starts no more groups, and resolves when the one under way has been applied. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const { core, clock, laterTurn } = this.#parts;
    let turnBeganMs = clock.monotonicMs();
    try {
      while (this.#mayRun && this.#applied < core.applicableIndex) {
        await this.#applyGroup();
        if (clock.monotonicMs() - turnBeganMs < LIMITS.raftApplyTurnMs || mutated('raft.appliesWithoutTurn'))
          continue;
        await new Promise<void>(laterTurn);
        turnBeganMs = clock.monotonicMs();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = undefined;
    }
  }

  #fail(error: unknown): void {
    this.#stopped = true;
    this.#parts.onFatal(error);
  }

  async #applyGroup(): Promise<void> {
    const { core, store, stateMachine, onApplied } = this.#parts;
    const first = logIndex(this.#applied + 1);
    const limit = { ...GROUP, entries: Math.min(GROUP.entries, core.applicableIndex - this.#applied) };
    const entries = core.entries(first, limit) ?? (await store.read(first, limit));
    const last = must(entries.at(-1), `committed entry ${first}`);
    assert(
      entries[0]?.index === first && last.index <= core.applicableIndex,
      'a group follows what is applied',
    );
    const replies = await stateMachine.apply(entries);
    assert(replies.length === entries.length, 'the state machine answers each entry');
    this.#applied = last.index;
    onApplied(entries, replies);
  }
}
