/**
 * The configurations of a log: the one in force at its base, and those of its entries. The last is in force,
 * committed or not (paper, section 6); with its entry it goes, and the one before is in force again.
 */
import { assert, must, mutated, type LogIndex } from '../../base/index.ts';
import type { Configuration } from '../types.ts';
import { Quorum } from './quorum.ts';
import type { LogBase } from './term-runs.ts';

/** Where a log begins: the entry before its first, and who belonged to the cluster there. */
export interface LogStart extends LogBase {
  readonly configuration: Configuration;
}

export class Configurations {
  #known: Configuration[];
  #quorum: Quorum;

  constructor(atBase: Configuration, later: readonly Configuration[] = []) {
    this.#known = [atBase, ...later];
    this.#quorum = new Quorum(this.current);
  }

  get current(): Configuration {
    return must(this.#known.at(-1), 'the configuration in force');
  }

  /** Of the configuration in force. */
  get quorum(): Quorum {
    return this.#quorum;
  }

  /** Returns what was in force at this entry, which is not before the log's base. */
  at(index: LogIndex): Configuration {
    return must(
      this.#known.findLast((one) => one.index <= index),
      'the configuration at an entry',
    );
  }

  /** Returns what was in force at this entry, and everything after it. */
  since(index: LogIndex): readonly Configuration[] {
    const first = this.#known.findLastIndex((one) => one.index <= index);
    return this.#known.slice(first);
  }

  append(configuration: Configuration): void {
    assert(configuration.index > this.current.index, 'a configuration follows the one before');
    this.#known.push(configuration);
    this.#quorum = new Quorum(configuration);
  }

  /** Forgets those of the entries from `index` on. */
  truncate(index: LogIndex): void {
    if (this.current.index < index || mutated('raft.configurationNotRolledBack')) return;
    this.#known = this.#known.filter((one, at) => at === 0 || one.index < index);
    this.#quorum = new Quorum(this.current);
  }

  /** Forgets those that were not in force any more at `base`. */
  compact(base: LogIndex): void {
    const first = this.#known.findLastIndex((one) => one.index <= base);
    if (first > 0) this.#known = this.#known.slice(first);
  }
}
