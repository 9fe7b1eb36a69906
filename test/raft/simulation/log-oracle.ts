/**
 * What must hold of the members' logs: log matching, nothing but committed entries before a log's beginning,
 * and in force is the last configuration that the log holds.
 */
import { logIndex, must, type MemberId } from '../../../src/base/index.ts';
import type { Configuration } from '../../../src/raft/index.ts';
import type { Committed } from './committed.ts';
import type { Counts } from './counts.ts';
import type { SimMember } from './member.ts';

/** A configuration's entry has no data: its text is the whole record. */
export interface Seen {
  readonly data: string;
  readonly prevTerm: number;
  readonly configuration: Configuration | undefined;
}

/** A log as seen after the last event; what is below its base is taken from what was committed. */
interface Shadow {
  readonly terms: number[];
  /** Of its base and of its entries, in order. */
  configurations: Configuration[];
}

/** One member's log as the other oracles need it. */
export interface LogEnd {
  readonly index: number;
  readonly term: number;
  /** The last that stands in the log. */
  readonly configuration: Configuration;
}

export interface LogOracleParts {
  readonly committed: Committed;
  /** Before the first entry: nobody on a machine that has yet to join. */
  readonly initialOf: (id: MemberId) => Configuration;
  readonly counts: Counts;
  readonly fail: (text: string) => void;
}

type Core = NonNullable<SimMember['running']>['driver']['core'];

export class LogOracle {
  readonly #parts: LogOracleParts;
  readonly #shadows = new Map<MemberId, Shadow>();
  /** What was in force at members that are down, as they went. */
  readonly #left = new Map<MemberId, Configuration>();
  /** Every entry that ever was in a log: what it held, and the term of the entry before it. */
  readonly #entries = new Map<string, Seen>();

  constructor(parts: LogOracleParts) {
    this.#parts = parts;
  }

  entry(index: number, term: number): Seen | undefined {
    return this.#entries.get(`${index}@${term}`);
  }

  /** Undefined while the member is down. */
  endOf(id: MemberId): LogEnd | undefined {
    const shadow = this.#shadows.get(id);
    if (shadow === undefined) return undefined;
    const index = shadow.terms.length - 1;
    return { index, term: shadow.terms[index] ?? 0, configuration: inForce(shadow) };
  }

  /** The term of an entry in a member's log. */
  termAt(id: MemberId, index: number): number | undefined {
    return this.#shadows.get(id)?.terms[index];
  }

  /** What is in force at a member, or was when it went down; undefined if it never ran. */
  lastConfigurationOf(id: MemberId): Configuration | undefined {
    return this.endOf(id)?.configuration ?? this.#left.get(id);
  }

  /** The member is down. */
  forget(id: MemberId): void {
    const shadow = this.#shadows.get(id);
    if (shadow !== undefined) this.#left.set(id, inForce(shadow));
    this.#shadows.delete(id);
  }

  /** Looks at a log after an event. Returns true if it has changed. */
  look(id: MemberId, core: Core): boolean {
    const shadow = this.#shadows.get(id) ?? { terms: [0], configurations: [this.#parts.initialOf(id)] };
    this.#shadows.set(id, shadow);
    const { terms } = shadow;
    const { lastIndex, baseIndex } = core;
    if (terms.length === lastIndex + 1 && terms[lastIndex] === core.termAt(lastIndex)) return false;
    if (terms.length <= baseIndex || terms[baseIndex] !== core.termAt(baseIndex)) {
      this.#beginAfter(id, shadow, core);
    }
    let same = Math.min(terms.length - 1, lastIndex);
    while (same > baseIndex && terms[same] !== core.termAt(logIndex(same))) same--;
    if (same < terms.length - 1) this.#cutOff(shadow, same);
    for (let index = same + 1; index <= lastIndex; index++) this.#append(id, shadow, core, index);
    const [own, found] = [core.configuration.index, inForce(shadow).index];
    if (own !== found) this.#parts.fail(`member ${id} goes by the members of entry ${own}, not ${found}`);
    return true;
  }

  #cutOff(shadow: Shadow, last: number): void {
    const { counts } = this.#parts;
    counts.add('replaced-entries');
    shadow.terms.length = last + 1;
    const left = shadow.configurations.filter(({ index }) => index <= last);
    if (left.length < shadow.configurations.length) counts.add('change-undone');
    shadow.configurations = left;
  }

  /** Log matching, by induction: an entry of one index and term is always the same and follows the same. */
  #append(id: MemberId, { terms, configurations }: Shadow, core: Core, index: number): void {
    const term = core.termAt(logIndex(index)) ?? 0;
    terms.push(term);
    const entry = core.entries(logIndex(index), { entries: 1, bytes: Infinity })?.[0];
    if (entry === undefined) return;
    const { configuration } = entry;
    if (configuration !== undefined) configurations.push(configuration);
    const data = textOf(configuration === undefined ? entry.data : entry.record);
    const prevTerm = terms[index - 1] ?? 0;
    const known = this.entry(index, term);
    if (known === undefined) this.#entries.set(`${index}@${term}`, { data, prevTerm, configuration });
    else if (known.data !== data || known.prevTerm !== prevTerm) {
      this.#parts.fail(`entry ${index} of term ${term} differs on member ${id}`);
    }
  }

  /** A snapshot, or an earlier life, stands for the log's beginning: it must have been committed. */
  #beginAfter(id: MemberId, shadow: Shadow, core: Core): void {
    const { committed, fail } = this.#parts;
    const { baseIndex } = core;
    const { terms } = shadow;
    terms.length = 0;
    for (let index = 0; index <= baseIndex; index++) {
      const known = committed.at(index);
      if (index > 0 && known === undefined) fail(`the log of member ${id} begins after ${baseIndex}`);
      terms.push(known?.term ?? 0);
    }
    shadow.configurations = [committed.configurationAt(baseIndex)];
    if (terms[baseIndex] !== core.termAt(baseIndex)) {
      fail(`the log of member ${id} begins after another ${baseIndex}`);
    }
  }
}

function inForce({ configurations }: Shadow): Configuration {
  return must(configurations.at(-1), 'a configuration');
}

/** One character per byte: different bytes are different texts. */
export function textOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1');
}
