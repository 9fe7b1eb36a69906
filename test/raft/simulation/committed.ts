/** What the cluster has decided so far, entry by entry, and who belonged to it when. */
import { must } from '../../../src/base/index.ts';
import { initialConfiguration } from '../../../src/raft/configuration.ts';
import type { Configuration, Member } from '../../../src/raft/index.ts';

export interface CommittedKnown {
  readonly term: number;
  readonly data: string;
}

export class Committed {
  readonly #entries: (CommittedKnown | undefined)[] = [{ term: 0, data: '' }];
  readonly #configurations: Configuration[];

  constructor(founders: readonly Member[]) {
    this.#configurations = [initialConfiguration(founders)];
  }

  /** The highest index that any member has seen committed. */
  get lastIndex(): number {
    return this.#entries.length - 1;
  }

  at(index: number): CommittedKnown | undefined {
    return this.#entries[index];
  }

  /** The last that is committed. */
  get configuration(): Configuration {
    return must(this.#configurations.at(-1), 'a configuration');
  }

  configurationAt(index: number): Configuration {
    return must(
      this.#configurations.findLast((one) => one.index <= index),
      'a configuration',
    );
  }

  add(index: number, known: CommittedKnown, configuration: Configuration | undefined): void {
    this.#entries[index] = known;
    if (configuration !== undefined) this.#configurations.push(configuration);
  }
}
