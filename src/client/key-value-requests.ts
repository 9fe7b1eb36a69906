/**
 * What callers of the key-value client wait for: their writes and reads, and the batches that carry them.
 * A batch of writes is one request of the session: it keeps its sequence and its bytes however often it is
 * sent, so that it takes effect once.
 */
import {
  TidemarkError,
  encodeWrites,
  mutated,
  type KeyValueWrite,
  type KeyValueWritten,
} from '../base/index.ts';
import type { KeyValueFound } from '../wire/index.ts';

export interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly endsAt: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export type WaitingWrite = Waiting<KeyValueWrite, KeyValueWritten>;
export type WaitingRead = Waiting<string, KeyValueFound>;

/** Callers whose requests travel together; each is settled once. */
class Batch<Item, Answer> {
  readonly #waiting: (Waiting<Item, Answer> | undefined)[];
  #open: number;

  constructor(waiting: readonly Waiting<Item, Answer>[]) {
    this.#waiting = [...waiting];
    this.#open = waiting.length;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** True while a caller still waits. */
  get awaited(): boolean {
    return this.#open > 0;
  }

  settle(answers: readonly Answer[]): void {
    for (const [position, answer] of answers.entries()) this.#take(position)?.resolve(answer);
  }

  rejectAll(error: TidemarkError): void {
    for (const position of this.#waiting.keys()) this.#take(position)?.reject(error);
  }

  /** Rejects those whose time is over. */
  expire(nowMs: number, error: () => TidemarkError): void {
    for (const [position, waiting] of this.#waiting.entries()) {
      if (waiting !== undefined && waiting.endsAt <= nowMs) this.#take(position)?.reject(error());
    }
  }

  /** Takes back the callers from `position` on who still wait, to ask again for them. */
  takeFrom(position: number): Waiting<Item, Answer>[] {
    const rest: Waiting<Item, Answer>[] = [];
    for (let at = position; at < this.#waiting.length; at++) {
      const waiting = this.#take(at);
      if (waiting !== undefined) rest.push(waiting);
    }
    return rest;
  }

  #take(position: number): Waiting<Item, Answer> | undefined {
    const waiting = this.#waiting[position];
    if (waiting === undefined) return undefined;
    this.#waiting[position] = undefined;
    this.#open -= 1;
    return waiting;
  }
}

export class WriteBatch extends Batch<KeyValueWrite, KeyValueWritten> {
  readonly sequence: number;
  readonly bytes: Uint8Array;
  /** Sent on the stream that is open now, and neither answered nor refused. */
  underWay = false;
  /** An attempt ended without an answer: it may have taken effect. */
  inDoubt = false;

  constructor(sequence: number, waiting: readonly WaitingWrite[]) {
    super(waiting);
    this.sequence = sequence;
    this.bytes = encodeWrites(waiting.map(({ item }) => item));
  }

  unanswered(): void {
    this.inDoubt ||= this.underWay;
    this.underWay = false;
  }

  /** What was sent on the stream that is open had no effect. */
  refused(): void {
    this.underWay = false;
  }

  /** The error of a caller who waits no longer. */
  overdue(): TidemarkError {
    return this.failedWith(nobodyAnswered());
  }

  /** What callers are told when the batch ends with `error`, which only speaks of the last attempt. */
  failedWith(error: TidemarkError): TidemarkError {
    const underWay = this.underWay && !mutated('client.underWayIsFailure');
    return this.inDoubt || underWay ? outcomeUnknown(error) : error;
  }
}

export class ReadBatch extends Batch<string, KeyValueFound> {
  readonly paths: readonly string[];

  constructor(waiting: readonly WaitingRead[]) {
    super(waiting);
    this.paths = waiting.map(({ item }) => item);
  }
}

export function outcomeUnknown(cause?: TidemarkError): TidemarkError {
  return new TidemarkError(
    'OUTCOME_UNKNOWN',
    'no answer in time; the write may or may not have taken effect',
    {
      next: 'Read the key before you write it again.',
      cause,
    },
  );
}

export function nobodyAnswered(): TidemarkError {
  return new TidemarkError('NO_LEADER', 'no leader answered in time; nothing was changed');
}
