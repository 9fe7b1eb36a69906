/**
 * The log as the core sees it: the terms of all of it, and the entries of its end. What is durable and
 * committed may leave memory; whoever needs it then reads it from the store.
 */
import { assert, must, type LogIndex, type MemberId, type Term } from '../../base/index.ts';
import type { Entry } from '../entry.ts';
import { isVoter } from '../configuration.ts';
import type { Configuration } from '../types.ts';
import { Configurations, type LogStart } from './configurations.ts';
import type { Quorum } from './quorum.ts';
import { TermRuns, type LogBase } from './term-runs.ts';

export interface SliceLimit {
  readonly entries: number;
  readonly bytes: number;
}

export class LogView {
  #runs: TermRuns;
  #configurations: Configurations;
  #tail: Entry[];
  #tailBytes = 0;

  /** `tail` is the end of the log that the others describe; it may be all of it or nothing. */
  constructor(runs: TermRuns, configurations: Configurations, tail: readonly Entry[]) {
    this.#runs = runs;
    this.#configurations = configurations;
    this.#tail = [...tail];
    for (const entry of tail) this.#tailBytes += entry.record.length;
    const last = this.#tail.at(-1);
    assert(last === undefined || last.index === runs.lastIndex, 'the tail ends where the log ends');
  }

  /** What was compacted away ends here. */
  get base(): LogBase {
    return this.#runs.base;
  }

  get lastIndex(): LogIndex {
    return this.#runs.lastIndex;
  }

  get lastTerm(): Term {
    return this.#runs.lastTerm;
  }

  /** In force here, committed or not. */
  get configuration(): Configuration {
    return this.#configurations.current;
  }

  /** Of the configuration in force. */
  get quorum(): Quorum {
    return this.#configurations.quorum;
  }

  configurationAt(index: LogIndex): Configuration {
    return this.#configurations.at(index);
  }

  /** Tells whether this is a voter of the configuration in force at `commit` or of any since. */
  isOrWasVoter(id: MemberId, commit: LogIndex): boolean {
    return this.#configurations.since(commit).some((one) => isVoter(one, id));
  }

  termAt(index: LogIndex): Term | undefined {
    return this.#runs.termAt(index);
  }

  lastAtMost(index: LogIndex, term: Term): LogIndex {
    return this.#runs.lastAtMost(index, term);
  }

  append(entry: Entry): void {
    assert(entry.prevTerm === this.lastTerm, () => `entry ${entry.index} follows an entry of another term`);
    this.#runs.append(entry.index, entry.term);
    if (entry.configuration !== undefined) this.#configurations.append(entry.configuration);
    this.#tail.push(entry);
    this.#tailBytes += entry.record.length;
  }

  truncate(from: LogIndex): void {
    this.#runs.truncate(from);
    this.#configurations.truncate(from);
    while ((this.#tail.at(-1)?.index ?? 0) >= from) {
      this.#tailBytes -= must(this.#tail.pop(), 'last entry').record.length;
    }
  }

  /** Forgets the entries up to `index`. */
  compact(index: LogIndex): void {
    this.#runs.compact(index);
    this.#configurations.compact(index);
    let count = 0;
    for (const entry of this.#tail) {
      if (entry.index > index) break;
      this.#tailBytes -= entry.record.length;
      count++;
    }
    this.#tail = this.#tail.slice(count);
  }

  /** Forgets everything: the log goes on after `start`, which a snapshot holds. */
  reset(start: LogStart): void {
    this.#runs = new TermRuns({ index: start.index, term: start.term });
    this.#configurations = new Configurations(start.configuration);
    this.#tail = [];
    this.#tailBytes = 0;
  }

  /**
   * Returns entries from `first` on, at least one if there is one, or undefined if `first` is not in memory.
   */
  slice(first: LogIndex, limit: SliceLimit): readonly Entry[] | undefined {
    if (first > this.lastIndex) return [];
    const start = first - this.#tailFirst;
    if (start < 0) return undefined;
    let end = start;
    let bytes = 0;
    while (end < this.#tail.length && end - start < limit.entries) {
      bytes += must(this.#tail[end], 'entry of the tail').record.length;
      if (bytes > limit.bytes && end > start) break;
      end++;
    }
    return this.#tail.slice(start, end);
  }

  /** Lets go of the oldest half of the tail once it is above `maxBytes`; only of entries up to `upTo`. */
  trim(upTo: LogIndex, maxBytes: number): void {
    if (this.#tailBytes <= maxBytes) return;
    let count = 0;
    for (const entry of this.#tail) {
      if (entry.index > upTo || this.#tailBytes <= maxBytes / 2) break;
      this.#tailBytes -= entry.record.length;
      count++;
    }
    this.#tail = this.#tail.slice(count);
  }

  get #tailFirst(): number {
    return this.lastIndex + 1 - this.#tail.length;
  }
}
