/**
 * The term of every entry, in memory for the whole log: terms never decrease along a log, so one pair (first
 * index, term) per change of term is enough, and a conflict is found without reading an entry. Of what was
 * compacted away only the last index and its term are left: the base.
 */
import { assert, logIndex, term as makeTerm, type LogIndex, type Term } from '../../base/index.ts';

export interface TermRun {
  readonly first: LogIndex;
  readonly term: Term;
}

/** The entry before the first that is kept; index and term 0 before the first of all. */
export interface LogBase {
  readonly index: LogIndex;
  readonly term: Term;
}

export const EMPTY_BASE: LogBase = { index: logIndex(0), term: makeTerm(0) };

export class TermRuns {
  #base: LogBase;
  #runs: TermRun[];
  #lastIndex: LogIndex;

  constructor(base: LogBase = EMPTY_BASE) {
    this.#base = base;
    this.#runs = [{ first: base.index, term: base.term }];
    this.#lastIndex = base.index;
  }

  get base(): LogBase {
    return this.#base;
  }

  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  get lastTerm(): Term {
    return this.#runs.at(-1)?.term ?? this.#base.term;
  }

  append(index: LogIndex, term: Term): void {
    assert(index === this.#lastIndex + 1, () => `entry ${index} does not follow ${this.#lastIndex}`);
    assert(
      term >= this.lastTerm,
      () => `entry ${index} of term ${term} follows one of term ${this.lastTerm}`,
    );
    if (term > this.lastTerm) this.#runs.push({ first: index, term });
    this.#lastIndex = index;
  }

  /** Forgets every entry from `index` on. */
  truncate(index: LogIndex): void {
    assert(index > this.#base.index, () => `entry ${index} was compacted and would be forgotten`);
    while ((this.#runs.at(-1)?.first ?? 0) >= index) this.#runs.pop();
    this.#lastIndex = logIndex(index - 1);
  }

  /** Forgets the entries up to `index`, which becomes the base. */
  compact(index: LogIndex): void {
    const term = this.termAt(index);
    assert(term !== undefined, () => `entry ${index} is not in the log that is compacted`);
    const kept = this.#runs.slice(this.#runAt(index) + 1);
    this.#base = { index, term };
    this.#runs = [{ first: index, term }, ...kept];
  }

  /** Returns the base's term at the base (0 for index 0), undefined before it and beyond the end. */
  termAt(index: LogIndex): Term | undefined {
    if (index > this.#lastIndex) return undefined;
    return this.#runs[this.#runAt(index)]?.term;
  }

  /**
   * Returns the last index at or before `index` whose term is at most `term`. Nothing between it and `index`
   * can be equal in a log whose entry at `index` has that term (etcd raft, findConflictByTerm).
   */
  lastAtMost(index: LogIndex, term: Term): LogIndex {
    let at = Math.min(index, this.#lastIndex);
    for (let run = this.#runAt(logIndex(at)); run >= 0; run--) {
      const found = this.#runs[run];
      if (found === undefined || found.term <= term) return logIndex(at);
      at = found.first - 1;
    }
    return logIndex(at);
  }

  /** Position of the run that holds `index`, -1 if it lies before the first. */
  #runAt(index: LogIndex): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#runs[middle]?.first ?? 0) <= index) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
