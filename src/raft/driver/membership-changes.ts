/** Calls that wait until a change of the members is committed, left if it is joint, and applied here. */
import { type LogIndex, type Term } from '../../base/index.ts';
import type { RaftCore } from '../core/index.ts';
import type { Configuration } from '../types.ts';
import { unknownOutcome } from './refusals.ts';

interface Waiting {
  readonly index: LogIndex;
  readonly term: Term;
  readonly resolve: (configuration: Configuration) => void;
  readonly reject: (error: unknown) => void;
}

export class MembershipChanges {
  readonly #core: RaftCore;
  readonly #appliedIndex: () => LogIndex;
  #waiting: Waiting[] = [];

  constructor(core: RaftCore, appliedIndex: () => LogIndex) {
    this.#core = core;
    this.#appliedIndex = appliedIndex;
  }

  /** Waits for the configuration that was just appended. */
  wait(): Promise<Configuration> {
    const { configuration, term } = this.#core;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ index: configuration.index, term, resolve, reject });
    });
  }

  /** To be called after every step and after applying. */
  look(): void {
    if (this.#waiting.length > 0) this.#waiting = this.#waiting.filter((one) => !this.#isAnswered(one));
  }

  failAll(error: unknown): void {
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting = [];
  }

  #isAnswered({ index, term, resolve, reject }: Waiting): boolean {
    const core = this.#core;
    const committed = core.configurationAt(core.commitIndex);
    const done = committed.index >= index && committed.outgoing.length === 0;
    const replaced = index > core.baseIndex && core.termAt(index) !== term;
    if (replaced || (!done && (core.role !== 'leader' || core.term !== term))) {
      reject(unknownOutcome('this node lost the lead', 'the members changed'));
      return true;
    }
    if (!done || this.#appliedIndex() < committed.index) return false;
    resolve(committed);
    return true;
  }
}
