/**
 * What must hold after every single event of a simulated run. The oracles look at cores, disks and frames;
 * they share no rule with the code that they judge.
 */
import { logIndex, must, type MemberId } from '../../../src/base/index.ts';
import type { CommittedEntry, Configuration, Member, RaftStatus } from '../../../src/raft/index.ts';
import { HARD_STATE_KEY, decodeHardState, type KeyValueBatch } from '../../../src/raft/log-store/index.ts';
import { initialConfiguration } from '../../../src/raft/configuration.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import { Committed } from './committed.ts';
import type { Counts } from './counts.ts';
import { ElectionOracle } from './election-oracle.ts';
import { LogOracle, textOf } from './log-oracle.ts';
import { decide } from './majority.ts';
import type { SimMember } from './member.ts';
import { wrongSuccessor } from './membership.ts';
import { holdsOfTerm } from './on-disk.ts';
import type { Answer, Attempt } from './requests.ts';
import { StateOracle, sameAnswer } from './state-oracle.ts';
import { Violation } from './violation.ts';

interface Acknowledged {
  readonly data: string;
  readonly index: number;
  readonly answer: Answer | undefined;
}

export class Oracles {
  readonly states = new StateOracle((text) => {
    this.fail(text);
  });
  readonly #members: readonly SimMember[];
  readonly #counts: Counts;
  readonly #logs: LogOracle;
  readonly #elections: ElectionOracle;
  readonly #committed: Committed;
  /** Where each member's log begins. */
  readonly #bases = new Map<MemberId, number>();
  readonly #seenCommit = new WeakMap<object, number>();
  readonly #indexOfData = new Map<string, number>();
  readonly #refused = new Set<string>();
  readonly #answers: Acknowledged[] = [];
  readonly #attemptOf = new Map<string, number>();
  #failure: Violation | undefined;

  constructor(members: readonly SimMember[], counts: Counts, founders: readonly Member[]) {
    this.#members = members;
    this.#counts = counts;
    this.#committed = new Committed(founders);
    const committed = this.#committed;
    const fail = (text: string): void => {
      this.fail(text);
    };
    const initialOf = (id: MemberId): Configuration => {
      return initialConfiguration(founders.some((founder) => founder.id === id) ? founders : []);
    };
    const logs = new LogOracle({ committed, initialOf, counts, fail });
    this.#logs = logs;
    this.#elections = new ElectionOracle({ members, logs, committed, counts, fail });
  }

  /** The last that is committed. */
  get configuration(): Configuration {
    return this.#committed.configuration;
  }

  /** What is in force at a member, or was when it went down; undefined if it never ran. */
  lastConfigurationOf(id: MemberId): Configuration | undefined {
    return this.#logs.lastConfigurationOf(id);
  }

  /** The highest index that any member has seen committed. */
  get committedIndex(): number {
    return this.#committed.lastIndex;
  }

  /** Throws the first violation, also one that was noticed inside the product's call stack. */
  check(): void {
    const committedBefore = this.committedIndex;
    let changed = false;
    for (const member of this.#members) if (this.#look(member)) changed = true;
    this.#elections.look(changed || this.committedIndex !== committedBefore);
    if (this.#answers.length > 0)
      for (const answered of this.#answers.splice(0)) this.#lookAtAnswer(answered);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #lookAtAnswer({ data, index, answer }: Acknowledged): void {
    const attempt = this.#attemptOf.get(data);
    if (this.#committed.at(index)?.data !== data) this.fail(`what was answered is not entry ${index}`);
    else if (attempt !== undefined && !sameAnswer(answer, this.states.effectOf(attempt)))
      this.fail(`the answer to entry ${index} is wrong`);
  }

  fail(text: string): void {
    this.#failure ??= new Violation(text);
  }

  fatal(id: MemberId, error: unknown): void {
    this.fail(`member ${id} ended itself: ${error instanceof Error ? error.message : String(error)}`);
  }

  status(id: MemberId, status: RaftStatus): void {
    this.#elections.status(id, status);
  }

  wire(from: MemberId, to: MemberId, frame: Uint8Array): void {
    for (const message of decodeFrame(frame)) this.#elections.wire(from, to, message);
  }

  /** A log forgets only what the durable state beside it came of. */
  logWritten(id: MemberId, { puts }: KeyValueBatch): void {
    const stored = puts.find(([key]) => Buffer.compare(key, HARD_STATE_KEY) === 0)?.[1];
    if (stored === undefined) return;
    const base = decodeHardState(stored).base.index;
    const member = must(
      this.#members.find((one) => one.id === id),
      `member ${id}`,
    );
    const state = member.durableState;
    const before = this.#bases.get(id) ?? 0;
    this.#bases.set(id, base);
    // A state that is lost later leaves the log as it was.
    if (base > before && base > state)
      this.fail(`the log of member ${id} begins after ${base}, its durable state ends at ${state}`);
  }

  proposed(data: Uint8Array, attempt: Attempt): void {
    const text = textOf(data);
    this.#attemptOf.set(text, attempt.attempt);
    this.states.proposed(text, attempt);
  }

  refused(data: Uint8Array): void {
    this.#refused.add(textOf(data));
  }

  /** A proposal was answered: it is in the log, once, where the answer says. */
  acknowledged(data: Uint8Array, index: number, answer: Answer | undefined): void {
    this.#answers.push({ data: textOf(data), index, answer });
  }

  /** Returns true if the member's log is not what it was. */
  #look(member: SimMember): boolean {
    const { id, running: life } = member;
    const before = this.#logs.endOf(id)?.configuration;
    if (life === undefined) {
      this.#logs.forget(id);
      return before !== undefined;
    }
    const changed = this.#logs.look(id, life.driver.core);
    this.#lookAtCommit(member, before);
    for (const applied of life.state.takeApplied()) {
      this.#lookAtApplied(id, applied.entry);
      this.states.applied(id, applied);
    }
    this.states.look(id, life.state);
    return changed;
  }

  /**
   * State machine safety; the leader's commit rule; and a majority of disks behind every commit, of the
   * configuration that was in force at the member before the event.
   */
  #lookAtCommit({ id, running }: SimMember, before: Configuration | undefined): void {
    const core = must(running, 'a running member').driver.core;
    const { commitIndex, role, term, lastIndex } = core;
    const from = this.#seenCommit.get(core) ?? 0;
    if (commitIndex === from) return;
    if (commitIndex < from || commitIndex > lastIndex) this.fail(`member ${id} commits ${commitIndex}`);
    this.#seenCommit.set(core, commitIndex);
    if (role === 'leader' && core.termAt(commitIndex) !== term) {
      this.fail(`leader ${id} commits entry ${commitIndex} of an older term by counting`);
    }
    for (let index = Math.max(from + 1, core.baseIndex); index <= commitIndex; index++) {
      if (index === 0) continue;
      const entryTerm = core.termAt(logIndex(index)) ?? 0;
      const known = this.#committed.at(index);
      if (known !== undefined && known.term !== entryTerm) {
        this.fail(`entry ${index} is committed in terms ${known.term} and ${entryTerm}`);
      }
      if (known === undefined) this.#commit(index, entryTerm, before ?? core.configuration);
    }
  }

  #commit(index: number, term: number, counted: Configuration): void {
    const entry = this.#logs.entry(index, term);
    const data = entry?.data ?? '';
    if (entry?.configuration !== undefined) this.#lookAtChange(entry.configuration);
    this.#committed.add(index, { term, data }, entry?.configuration);
    const earlier = this.#indexOfData.get(data);
    if (data !== '' && earlier !== undefined) this.fail(`one try is committed at ${earlier} and ${index}`);
    if (data !== '') this.#indexOfData.set(data, index);
    if (this.#refused.has(data)) this.fail(`entry ${index} was refused but is committed`);
    this.states.committed(index, term, data);
    const holders = this.#members.filter((member) => {
      // What was done to a disk since it acknowledged the entry is no matter of the commit rule.
      const spoilt = member.damage !== undefined && member.running === undefined;
      return spoilt || holdsOfTerm(member, index, term);
    });
    const ids = holders.map(({ id }) => id);
    if (!decide(ids, counted)) {
      this.fail(`entry ${index} is committed but durable on members ${ids.join()} only`);
    }
  }

  #lookAtChange(next: Configuration): void {
    this.#counts.add('membership-change');
    if (next.outgoing.length > 0) this.#counts.add('joint-change');
    const wrong = wrongSuccessor(this.configuration, next);
    if (wrong !== undefined) this.fail(wrong);
  }

  #lookAtApplied(id: MemberId, entry: CommittedEntry): void {
    const known = this.#committed.at(entry.index);
    const seen = this.#logs.entry(entry.index, entry.term);
    const data = seen?.configuration === undefined ? textOf(entry.data) : seen.data;
    if (known?.term !== entry.term || known.data !== data) {
      this.fail(`member ${id} applied another entry ${entry.index} than was committed`);
    }
  }
}
