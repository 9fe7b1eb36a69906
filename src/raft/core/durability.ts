/**
 * Knows how much of what the core holds is on disk. Writes complete in the order in which they were asked
 * for, but a later one may replace entries of one that is still under way: so an entry counts as durable only
 * when no outstanding write touches it or anything before it. (An acknowledgement of an old write would
 * otherwise vouch for entries that replaced what it wrote.)
 */
import { assert, logIndex, type LogIndex } from '../../base/index.ts';

interface Outstanding {
  readonly sequence: number;
  readonly first: number;
  readonly hardState: boolean;
}

export class Durability {
  #outstanding: Outstanding[] = [];
  #sequence = 0;
  #durableIndex: LogIndex;

  constructor(lastIndex: LogIndex) {
    this.#durableIndex = lastIndex;
  }

  /** Up to here the log in memory is the log on disk. */
  get durableIndex(): LogIndex {
    return this.#durableIndex;
  }

  get hardStateDurable(): boolean {
    return this.#outstanding.every((write) => !write.hardState);
  }

  /** Notes a write and returns its sequence. `first` is the first entry that it changes. */
  issue(first: LogIndex | undefined, hardState: boolean): number {
    this.#sequence++;
    this.#outstanding.push({ sequence: this.#sequence, first: first ?? Infinity, hardState });
    if (first !== undefined) this.#durableIndex = logIndex(Math.min(this.#durableIndex, first - 1));
    return this.#sequence;
  }

  complete(sequence: number, lastIndex: LogIndex): void {
    assert(sequence <= this.#sequence, 'a write completes after it was asked for');
    this.#outstanding = this.#outstanding.filter((write) => write.sequence > sequence);
    let durable: number = lastIndex;
    for (const write of this.#outstanding) durable = Math.min(durable, write.first - 1);
    this.#durableIndex = logIndex(durable);
  }
}
