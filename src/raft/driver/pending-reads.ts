/**
 * Reads from the call until this node has applied what they may see. All reads of a turn share one round, and
 * one round is under way at a time: those that come meanwhile share the next. A round that is lost with its
 * leader begins anew with the next one.
 */
import { LIMITS, TidemarkError, logIndex, type LogIndex } from '../../base/index.ts';
import type { ConfirmedRead } from '../core/index.ts';

interface Reader {
  readonly resolve: (index: LogIndex) => void;
  readonly reject: (error: TidemarkError) => void;
  /** The tick at which it was called. */
  readonly since: number;
}

export class PendingReads {
  #queued: Reader[] = [];
  #round: { readonly id: number; readers: readonly Reader[] } | undefined;
  #confirmed: { readonly index: LogIndex; readers: readonly Reader[] }[] = [];
  #lastId = 0;
  #count = 0;
  #now = 0;

  /** @throws TidemarkError `OVERLOADED`, as a rejection. */
  add(): Promise<LogIndex> {
    if (this.#count >= LIMITS.raftReadsQueuedMax) {
      return Promise.reject(new TidemarkError('OVERLOADED', `${this.#count} reads wait already`));
    }
    this.#count++;
    return new Promise((resolve, reject) => {
      this.#queued.push({ resolve, reject, since: this.#now });
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

  /** This round will not be confirmed: its readers wait for the next one, before all others. */
  lost(id: number): void {
    if (this.#round?.id !== id) return;
    this.#queued = [...this.#round.readers, ...this.#queued];
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

  /** True while reads wait that no quorum has confirmed. */
  get unconfirmed(): boolean {
    return this.#round !== undefined || this.#queued.length > 0;
  }

  tick(): void {
    this.#now++;
  }

  /** Fails what has waited for this many ticks. */
  expire(ticks: number, error: () => TidemarkError): void {
    const isOld = ({ since }: Reader): boolean => this.#now - since >= ticks;
    const rest = (readers: readonly Reader[]): readonly Reader[] => {
      const oldest = readers[0];
      if (oldest === undefined || !isOld(oldest)) return readers;
      this.#fail(readers.filter(isOld), error());
      return readers.filter((reader) => !isOld(reader));
    };
    for (const group of this.#confirmed) group.readers = rest(group.readers);
    this.#queued = [...rest(this.#queued)];
    if (this.#round === undefined) return;
    this.#round.readers = rest(this.#round.readers);
    if (this.#round.readers.length === 0) this.#round = undefined;
  }

  /** Fails what no quorum has confirmed. A confirmed read stays right, whoever leads now. */
  failUnconfirmed(error: TidemarkError): void {
    const readers = [...(this.#round?.readers ?? []), ...this.#queued];
    this.#round = undefined;
    this.#queued = [];
    this.#fail(readers, error);
  }

  /** Fails everything: this node stops. */
  failAll(error: TidemarkError): void {
    this.failUnconfirmed(error);
    for (const { readers } of this.#confirmed) for (const reader of readers) reader.reject(error);
    this.#confirmed = [];
    this.#count = 0;
  }

  #fail(readers: readonly Reader[], error: TidemarkError): void {
    this.#count -= readers.length;
    for (const reader of readers) reader.reject(error);
  }
}
