/**
 * Reads from the call until this node has applied what they may see. All reads of a turn share one round, and
 * one round is under way at a time: those that come meanwhile share the next.
 */
import { LIMITS, TidemarkError, logIndex, type LogIndex } from '../../base/index.ts';
import type { ConfirmedRead } from '../core/index.ts';

interface Reader {
  readonly resolve: (index: LogIndex) => void;
  readonly reject: (error: TidemarkError) => void;
}

export class PendingReads {
  #queued: Reader[] = [];
  #round: { readonly id: number; readonly readers: readonly Reader[] } | undefined;
  #confirmed: { readonly index: LogIndex; readonly readers: readonly Reader[] }[] = [];
  #lastId = 0;
  #count = 0;

  /** @throws TidemarkError `OVERLOADED`, as a rejection. */
  add(): Promise<LogIndex> {
    if (this.#count >= LIMITS.raftReadsQueuedMax) {
      return Promise.reject(new TidemarkError('OVERLOADED', `${this.#count} reads wait already`));
    }
    this.#count++;
    return new Promise((resolve, reject) => {
      this.#queued.push({ resolve, reject });
    });
  }

  /** Returns the id of a round to start now, if reads wait and none is under way. Ids never repeat. */
  begin(): number | undefined {
    if (this.#round !== undefined || this.#queued.length === 0) return undefined;
    this.#lastId++;
    this.#round = { id: this.#lastId, readers: this.#queued };
    this.#queued = [];
    return this.#lastId;
  }

  confirmed(read: ConfirmedRead): void {
    if (this.#round?.id !== read.id) return;
    this.#confirmed.push({ index: read.index, readers: this.#round.readers });
    this.#round = undefined;
  }

  /** Resolves what a state applied up to `applied` can answer. Indexes of rounds never decrease. */
  applied(applied: number): void {
    for (
      let first = this.#confirmed[0];
      first !== undefined && first.index <= applied;
      first = this.#confirmed[0]
    ) {
      this.#confirmed.shift();
      this.#count -= first.readers.length;
      for (const reader of first.readers) reader.resolve(logIndex(first.index));
    }
  }

  /** Fails what no quorum has confirmed. A confirmed read stays right, whoever leads now. */
  failUnconfirmed(error: TidemarkError): void {
    const readers = [...(this.#round?.readers ?? []), ...this.#queued];
    this.#round = undefined;
    this.#queued = [];
    this.#count -= readers.length;
    for (const reader of readers) reader.reject(error);
  }

  /** Fails everything: this node stops. */
  failAll(error: TidemarkError): void {
    this.failUnconfirmed(error);
    for (const { readers } of this.#confirmed) for (const reader of readers) reader.reject(error);
    this.#confirmed = [];
    this.#count = 0;
  }
}
