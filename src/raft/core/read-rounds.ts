/**
 * Reads that wait for their quorum round (thesis, section 6.4). A round is a number that every heartbeat
 * carries and every reply repeats; it only grows while the process lives, and replies of other terms are
 * dropped before they come here, so a reply to an older round never confirms a newer read.
 */
import type { LogIndex } from '../../base/index.ts';
import type { ConfirmedRead } from './io.ts';

interface WaitingRead extends ConfirmedRead {
  readonly round: number;
}

export class ReadRounds {
  #round = 0;
  #waiting: WaitingRead[] = [];
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

  begin(): number {
    this.#round++;
    return this.#round;
  }

  wait(id: number, index: LogIndex): void {
    this.#waiting.push({ id, index, round: this.#round });
  }

  demandProof(): void {
    this.#proof = this.#round;
  }

  /** Returns the reads that a quorum's answer to `round` confirms. */
  answered(round: number): readonly ConfirmedRead[] {
    this.#answered = Math.max(this.#answered, round);
    if ((this.#waiting[0]?.round ?? Infinity) > round) return [];
    const confirmed = this.#waiting.filter((read) => read.round <= round);
    this.#waiting = this.#waiting.filter((read) => read.round > round);
    return confirmed.map(({ id, index }) => ({ id, index }));
  }

  /** Forgets everything that waits: the term or the role has changed. Rounds go on growing. */
  drop(): void {
    this.#waiting = [];
    this.#proof = 0;
    this.#answered = 0;
  }
}
