/** Calls that wait until this node has handed over the lead. */
import { TidemarkError, type MemberId } from '../../base/index.ts';
import type { RaftCore } from '../core/index.ts';

/** What was lost with the lead may take one election more than the transfer itself. */
const TIMEOUTS = 2;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: TidemarkError) => void;
}

export class Handover {
  readonly #core: RaftCore;
  readonly #patienceTicks: number;
  #waiting: Waiting | undefined;
  #ticks = 0;
  /** Another led since the transfer began. */
  #otherLed = false;

  constructor(core: RaftCore, electionTicks: number) {
    this.#core = core;
    this.#patienceTicks = TIMEOUTS * electionTicks;
  }

  /**
   * Waits for the transfer that `begin` starts.
   * @throws TidemarkError `TRANSFER_FAILED`, as a rejection.
   */
  start(to: MemberId | undefined, begin: () => void): Promise<void> {
    if (this.#isUnderWay()) return Promise.reject(failed('a transfer is under way already'));
    begin();
    if (!this.#isUnderWay()) {
      const whom = to === undefined ? 'no other voter' : `member ${to} is no other voter that`;
      return Promise.reject(failed(`${whom} answers`));
    }
    this.#ticks = 0;
    this.#otherLed = false;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  tick(): void {
    this.#ticks++;
    this.look();
  }

  /** To be called after every step. */
  look(): void {
    const { role, transferee } = this.#core;
    if (this.#waiting === undefined) return;
    this.#otherLed ||= role !== 'leader' && this.#core.leaderId !== undefined;
    const back = role === 'leader' && transferee === undefined;
    if (back ? this.#otherLed : role !== 'leader' && this.#othersLead()) this.#waiting.resolve();
    else if (back) this.#waiting.reject(failed('the other member did not take the lead in time'));
    else if (role !== 'leader' && this.#ticks >= this.#patienceTicks) this.#waiting.reject(gaveUp());
    else return;
    this.#waiting = undefined;
  }

  /** Until the new leader has committed its first entry it may need this node's disk for it. */
  #othersLead(): boolean {
    const { leaderId, commitIndex, term } = this.#core;
    return leaderId !== undefined && this.#core.termAt(commitIndex) === term;
  }

  #isUnderWay(): boolean {
    return this.#core.transferee !== undefined;
  }

  fail(error: TidemarkError): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

function gaveUp(): TidemarkError {
  return failed('this node has given up the lead, and no other has it for sure yet');
}

function failed(text: string): TidemarkError {
  return new TidemarkError('TRANSFER_FAILED', text, {
    next: 'Look at the members with `tidemark cluster status`, then try again.',
  });
}
