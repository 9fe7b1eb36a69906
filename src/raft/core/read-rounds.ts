/**
 * Reads that wait for their quorum round (thesis, section 6.4). A round is a number that every heartbeat
 * carries and every reply repeats; it only grows while the process lives, and replies of other terms are
 * dropped before they come here, so a reply to an older round never confirms a newer read.
 */
import type { LogIndex, MemberId } from '../../base/index.ts';

/** Who waits for a read: this node's own driver, or a follower, which hears of it by a message. */
export interface Reader {
  readonly id: number;
  readonly asker: { readonly member: MemberId; readonly start: number } | undefined;
}

export interface AnsweredRead {
  readonly reader: Reader;
  readonly index: LogIndex;
}

interface WaitingRead extends AnsweredRead {
  readonly round: number;
}

export class ReadRounds {
  #round = 0;
  #waiting: WaitingRead[] = [];
  /** The latest question of each follower that came while a round was under way: it needs a later one. */
  readonly #gathered = new Map<MemberId, Reader>();
  /** The leader is proven once a quorum has answered this round. */
  #proof = 0;
  #answered = 0;

  get round(): number {
    return this.#round;
  }

  /** True unless a stall demanded a proof that has not come yet. */
  get proven(): boolean {
    return this.#answered >= this.#proof;
  }

  /** True while followers wait for a round and none is under way. */
  get wanted(): boolean {
    return this.#gathered.size > 0 && this.#waiting.length === 0;
  }

  begin(): number {
    this.#round++;
    return this.#round;
  }

  wait(reader: Reader, index: LogIndex): void {
    this.#waiting.push({ reader, index, round: this.#round });
  }

  /** Takes a follower's question; said again while its answer is under way, it changes nothing. */
  gather(reader: Reader, member: MemberId): void {
    if (this.#waiting.some((waiting) => isSame(waiting.reader, reader))) return;
    this.#gathered.set(member, reader);
  }

  takeGathered(): readonly Reader[] {
    const readers = [...this.#gathered.values()];
    this.#gathered.clear();
    return readers;
  }

  demandProof(): void {
    this.#proof = this.#round;
  }

  /** Returns the reads that a quorum's answer to `round` confirms. */
  answered(round: number): readonly AnsweredRead[] {
    this.#answered = Math.max(this.#answered, round);
    if ((this.#waiting[0]?.round ?? Infinity) > round) return [];
    const confirmed = this.#waiting.filter((read) => read.round <= round);
    this.#waiting = this.#waiting.filter((read) => read.round > round);
    return confirmed;
  }

  /** Forgets everything that waits: the term or the role has changed. Rounds go on growing. */
  drop(): void {
    this.#waiting = [];
    this.#gathered.clear();
    this.#proof = 0;
    this.#answered = 0;
  }
}

function isSame(one: Reader, other: Reader): boolean {
  const sameAsker = one.asker?.member === other.asker?.member && one.asker?.start === other.asker?.start;
  return one.id === other.id && sameAsker;
}
