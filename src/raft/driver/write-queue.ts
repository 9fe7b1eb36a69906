/**
 * One write under way, and one that gathers what is asked for meanwhile: group commit without a timer.
 * Messages that promise durability wait for the last write asked for before them.
 */
import { assert, mutated, type LogIndex } from '../../base/index.ts';
import type { DurableMessage, Envelope, HardState, LogStart, Persist } from '../core/index.ts';
import type { Entry } from '../entry.ts';
import type { LogWrite } from '../log-store/index.ts';

export interface QueuedWrite {
  readonly sequence: number;
  readonly write: LogWrite;
  /** What may leave once the write is durable. */
  readonly after: readonly Envelope<DurableMessage>[];
  /** Whom to tell then. */
  readonly waiting: readonly (() => void)[];
}

class Gathering implements QueuedWrite {
  sequence = 0;
  hardState: HardState | undefined;
  after: Envelope<DurableMessage>[] = [];
  compactTo: LogStart | undefined;
  incoming: LogStart | undefined;
  readonly waiting: (() => void)[] = [];
  #log: { from: LogIndex; entries: Entry[]; base: LogStart | undefined } | undefined;

  get write(): LogWrite {
    return { hardState: this.hardState, log: this.#log, compactTo: this.compactTo, incoming: this.incoming };
  }

  /** Many appends that become durable together are acknowledged once. */
  promise(envelope: Envelope<DurableMessage>): void {
    const last = this.after.at(-1);
    if (last?.to === envelope.to && saysMore(envelope.message, last.message)) this.after.pop();
    this.after.push(envelope);
  }

  add(persist: Persist): void {
    assert(persist.sequence > this.sequence, 'writes are asked for in order');
    this.sequence = persist.sequence;
    if (persist.hardState !== undefined) this.#enter(persist.hardState);
    if (persist.log === undefined) return;
    const { base, from } = persist.log;
    if (this.#log === undefined || base !== undefined || from <= this.#log.from) {
      this.#log = { from, entries: [...persist.log.entries], base: base ?? this.#log?.base };
      return;
    }
    const kept = persist.log.from - this.#log.from;
    assert(kept <= this.#log.entries.length, 'what is written together is one piece of log');
    this.#log.entries.length = kept;
    for (const entry of persist.log.entries) this.#log.entries.push(entry);
  }

  /** What was promised in an older term is of no use, and the entries it vouches for may be replaced here. */
  #enter(hardState: HardState): void {
    this.hardState = hardState;
    this.after = this.after.filter(({ message }) => message.term >= hardState.term);
  }
}

/** An acknowledgement says all that an earlier one of the same write and term said. */
function saysMore(later: DurableMessage, earlier: DurableMessage): boolean {
  if (later.type !== 'append-reply' || earlier.type !== 'append-reply') return false;
  const both = later.accepted && earlier.accepted && later.term === earlier.term;
  return both && later.index >= earlier.index;
}

export class WriteQueue {
  #gathering: Gathering | undefined;
  #underWay: Gathering | undefined;

  add(persist: Persist): void {
    this.#gathering ??= new Gathering();
    this.#gathering.add(persist);
  }

  /** Forgets the entries up to `base`, with the next write. Resolves when that is durable. */
  compact(base: LogStart): Promise<void> {
    this.#gathering ??= new Gathering();
    this.#gathering.compactTo = base;
    return this.#durable(this.#gathering);
  }

  /** Notes, with the next write, what a snapshot will make of this log. Resolves when that is durable. */
  announce(incoming: LogStart): Promise<void> {
    this.#gathering ??= new Gathering();
    this.#gathering.incoming = incoming;
    return this.#durable(this.#gathering);
  }

  /** Nothing more is written: whoever waits for the next write goes on, and finds this node stopping. */
  abandon(): void {
    for (const resolve of this.#gathering?.waiting ?? []) resolve();
  }

  #durable({ waiting }: Gathering): Promise<void> {
    return new Promise((resolve) => {
      waiting.push(resolve);
    });
  }

  /** Returns what may leave at once because nothing is being written. */
  addAfterDurable(messages: readonly Envelope<DurableMessage>[]): readonly Envelope<DurableMessage>[] {
    const last = this.#gathering ?? this.#underWay;
    if (last === undefined || mutated('raft.ackBeforePersist')) return messages;
    for (const message of messages) last.promise(message);
    return [];
  }

  /** Returns the next write, unless one is under way or nothing waits. */
  begin(): QueuedWrite | undefined {
    if (this.#underWay !== undefined) return undefined;
    this.#underWay = this.#gathering;
    this.#gathering = undefined;
    return this.#underWay;
  }

  /** The write under way is durable. */
  complete(): void {
    assert(this.#underWay !== undefined, 'a write is under way');
    this.#underWay = undefined;
  }
}
