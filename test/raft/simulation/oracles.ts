/**
 * What must hold after every single event of a simulated run. The oracles look at cores, disks and frames;
 * they share no rule with the code that they judge.
 */
import { logIndex, must, type MemberId } from '../../../src/base/index.ts';
import type { CommittedEntry, Configuration, Member, RaftStatus } from '../../../src/raft/index.ts';
import {
  HARD_STATE_KEY,
  decodeHardState,
  entryKey,
  type KeyValueBatch,
} from '../../../src/raft/log-store/index.ts';
import { initialConfiguration } from '../../../src/raft/configuration.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import type { Counts } from './counts.ts';
import { decide } from './majority.ts';
import type { SimMember } from './member.ts';
import { halves } from './membership.ts';
import type { Answer, Attempt } from './requests.ts';
import { StateOracle, sameAnswer } from './state-oracle.ts';

export class Violation extends Error {
  override readonly name = 'Violation';
}

interface Known {
  readonly term: number;
  readonly data: string;
}

/** A configuration's entry has no data: its text is the whole record. */
interface Seen {
  readonly data: string;
  readonly prevTerm: number;
  readonly configuration: Configuration | undefined;
}

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
  readonly #leaderOfTerm = new Map<number, MemberId>();
  readonly #votes = new Map<string, MemberId>();
  /** Per link: frames of one turn leave in an order of peers, not of time. */
  /** Where each member's log begins. */
  readonly #bases = new Map<MemberId, number>();
  readonly #promisedTerm = new Map<string, number>();
  /** Terms of each member's log, as seen after the last event; below its base, of what was committed. */
  readonly #shadows = new Map<MemberId, number[]>();
  /** Every entry that ever was in a log: what it held, and the term of the entry before it. */
  readonly #entries = new Map<string, Seen>();
  readonly #committed: (Known | undefined)[] = [undefined];
  readonly #seenCommit = new WeakMap<object, number>();
  /** In force at each member after the last event: what the next one counts by. */
  readonly #counted = new WeakMap<object, Configuration>();
  readonly #indexOfData = new Map<string, number>();
  readonly #refused = new Set<string>();
  readonly #answers: Acknowledged[] = [];
  readonly #attemptOf = new Map<string, number>();
  #configuration: Configuration;
  #failure: Violation | undefined;

  constructor(members: readonly SimMember[], counts: Counts, founders: readonly Member[]) {
    this.#members = members;
    this.#counts = counts;
    this.#configuration = initialConfiguration(founders);
  }

  /** The last that is committed. */
  get configuration(): Configuration {
    return this.#configuration;
  }

  /** The highest index that any member has seen committed. */
  get committedIndex(): number {
    return this.#committed.length - 1;
  }

  /** Throws the first violation, also one that was noticed inside the product's call stack. */
  check(): void {
    for (const member of this.#members) this.#look(member);
    if (this.#answers.length > 0)
      for (const answered of this.#answers.splice(0)) this.#lookAtAnswer(answered);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #lookAtAnswer({ data, index, answer }: Acknowledged): void {
    const attempt = this.#attemptOf.get(data);
    if (this.#committed[index]?.data !== data) this.fail(`what was answered is not entry ${index}`);
    else if (attempt !== undefined && !sameAnswer(answer, this.states.effectOf(attempt)))
      this.fail(`the answer to entry ${index} is wrong`);
  }

  fail(text: string): void {
    this.#failure ??= new Violation(text);
  }

  fatal(id: MemberId, error: unknown): void {
    this.fail(`member ${id} ended itself: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** Election safety, leader completeness. */
  status(id: MemberId, status: RaftStatus): void {
    if (status.role !== 'leader') return;
    const other = this.#leaderOfTerm.get(status.term);
    if (other !== undefined && other !== id) this.fail(`term ${status.term} has leaders ${other} and ${id}`);
    if (other !== undefined) return;
    this.#leaderOfTerm.set(status.term, id);
    if (this.#leaderOfTerm.size > 1) this.#counts.add('leader-change');
    const core = this.#members.find((member) => member.id === id)?.running?.driver.core;
    if (core === undefined) return;
    for (let index = Math.max(1, core.baseIndex); index <= this.committedIndex; index++) {
      const term = core.termAt(logIndex(index));
      if (term === this.#committed[index]?.term) continue;
      this.fail(`leader ${id} of term ${status.term} lacks committed entry ${index}`);
      return;
    }
  }

  /** One vote a term, and no promise from a term before one that was promised in: over crashes, too. */
  wire(from: MemberId, to: MemberId, frame: Uint8Array): void {
    for (const message of decodeFrame(frame)) {
      const { type, term } = message;
      if (type === 'vote') this.#vote(from, term, from);
      if (type === 'vote-reply' && message.granted) this.#vote(from, term, to);
      if (type === 'append-reply' && message.accepted) this.#mustBeDurable(from, message.index);
      if (type !== 'vote' && type !== 'vote-reply' && type !== 'append-reply') continue;
      const link = `${from}>${to}`;
      const before = this.#promisedTerm.get(link) ?? 0;
      if (term < before) this.fail(`member ${from} tells ${to} of term ${term} after ${before}`);
      this.#promisedTerm.set(link, term);
      if ((this.#hardStateOf(from)?.term ?? 0) < term)
        this.fail(`member ${from} speaks of term ${term} too early`);
    }
  }

  #hardStateOf(id: MemberId): ReturnType<typeof decodeHardState> | undefined {
    const stored = this.#memberOf(id).disk.durable(HARD_STATE_KEY);
    return stored === undefined ? undefined : decodeHardState(stored);
  }

  /** A log forgets only what the durable state beside it came of. */
  logWritten(id: MemberId, { puts }: KeyValueBatch): void {
    const stored = puts.find(([key]) => Buffer.compare(key, HARD_STATE_KEY) === 0)?.[1];
    if (stored === undefined) return;
    const base = decodeHardState(stored).base.index;
    const state = this.#memberOf(id).durableState;
    const before = this.#bases.get(id) ?? 0;
    this.#bases.set(id, base);
    // A state that is lost later leaves the log as it was.
    if (base > before && base > state)
      this.fail(`the log of member ${id} begins after ${base}, its durable state ends at ${state}`);
  }

  #vote(voter: MemberId, term: number, candidate: MemberId): void {
    const key = `${voter}@${term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) {
      this.fail(`member ${voter} voted for ${before} and ${candidate} in term ${term}`);
    }
    this.#votes.set(key, candidate);
    const hardState = this.#hardStateOf(voter);
    if (hardState?.term === term ? hardState.vote !== candidate : (hardState?.term ?? 0) < term) {
      this.fail(`member ${voter} votes for ${candidate} in term ${term} before its disk knows`);
    }
  }

  #mustBeDurable(follower: MemberId, index: number): void {
    if (index === 0 || this.#memberOf(follower).disk.durable(entryKey(logIndex(index))) !== undefined) return;
    if ((this.#hardStateOf(follower)?.base.index ?? 0) >= index) return;
    this.fail(`member ${follower} acknowledges entry ${index} before its disk has it`);
  }

  #memberOf(id: MemberId): SimMember {
    return must(
      this.#members.find((member) => member.id === id),
      `member ${id}`,
    );
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

  #look(member: SimMember): void {
    const life = member.running;
    if (life === undefined) {
      this.#shadows.delete(member.id);
      return;
    }
    this.#lookAtLog(member);
    this.#lookAtCommit(member);
    for (const applied of life.state.takeApplied()) {
      this.#lookAtApplied(member.id, applied.entry);
      this.states.applied(member.id, applied);
    }
    this.states.look(member.id, life.state);
  }

  /** Log matching, by induction: an entry of one index and term is always the same and follows the same. */
  #lookAtLog(member: SimMember): void {
    const core = member.running?.driver.core;
    if (core === undefined) return;
    const shadow = this.#shadows.get(member.id) ?? [0];
    this.#shadows.set(member.id, shadow);
    const { lastIndex, baseIndex } = core;
    if (shadow.length === lastIndex + 1 && shadow[lastIndex] === core.termAt(lastIndex)) return;
    if (shadow.length <= baseIndex || shadow[baseIndex] !== core.termAt(baseIndex)) {
      this.#beginAfter(member.id, shadow, baseIndex);
    }
    let same = Math.min(shadow.length - 1, lastIndex);
    while (same > baseIndex && shadow[same] !== core.termAt(logIndex(same))) same--;
    if (same < shadow.length - 1) this.#counts.add('replaced-entries');
    shadow.length = same + 1;
    for (let index = same + 1; index <= lastIndex; index++) {
      const term = core.termAt(logIndex(index)) ?? 0;
      shadow.push(term);
      const entry = core.entries(logIndex(index), { entries: 1, bytes: Infinity })?.[0];
      if (entry === undefined) continue;
      const { configuration } = entry;
      const data = textOf(configuration === undefined ? entry.data : entry.record);
      const prevTerm = shadow[index - 1] ?? 0;
      const known = this.#entries.get(`${index}@${term}`);
      if (known === undefined) this.#entries.set(`${index}@${term}`, { data, prevTerm, configuration });
      else if (known.data !== data || known.prevTerm !== prevTerm) {
        this.fail(`entry ${index} of term ${term} differs on member ${member.id}`);
      }
    }
  }

  /** A snapshot, or an earlier life, stands for the log's beginning: it must have been committed. */
  #beginAfter(id: MemberId, shadow: number[], baseIndex: number): void {
    shadow.length = 0;
    for (let index = 0; index <= baseIndex; index++) {
      const known = this.#committed[index];
      if (index > 0 && known === undefined) this.fail(`the log of member ${id} begins after ${baseIndex}`);
      shadow.push(known?.term ?? 0);
    }
    const term = this.#memberOf(id).running?.driver.core.termAt(logIndex(baseIndex));
    if (shadow[baseIndex] !== term) this.fail(`the log of member ${id} begins after another ${baseIndex}`);
  }

  /** State machine safety; the leader's commit rule; and a majority of disks behind every commit. */
  #lookAtCommit(member: SimMember): void {
    const core = member.running?.driver.core;
    if (core === undefined) return;
    const { commitIndex, role, term, lastIndex, configuration } = core;
    const counted = this.#counted.get(core);
    if (counted !== configuration) this.#counted.set(core, configuration);
    const from = this.#seenCommit.get(core) ?? 0;
    if (commitIndex === from) return;
    if (commitIndex < from || commitIndex > lastIndex)
      this.fail(`member ${member.id} commits ${commitIndex}`);
    this.#seenCommit.set(core, commitIndex);
    if (role === 'leader' && core.termAt(commitIndex) !== term) {
      this.fail(`leader ${member.id} commits entry ${commitIndex} of an older term by counting`);
    }
    for (let index = Math.max(from + 1, core.baseIndex); index <= commitIndex; index++) {
      if (index === 0) continue;
      const entryTerm = core.termAt(logIndex(index)) ?? 0;
      const known = this.#committed[index];
      if (known !== undefined && known.term !== entryTerm) {
        this.fail(`entry ${index} is committed in terms ${known.term} and ${entryTerm}`);
      }
      if (known === undefined) this.#commit(index, entryTerm, counted ?? configuration);
    }
  }

  #commit(index: number, term: number, configuration: Configuration): void {
    const entry = this.#entries.get(`${index}@${term}`);
    const data = entry?.data ?? '';
    this.#committed[index] = { term, data };
    if (entry?.configuration !== undefined) this.#membersChanged(entry.configuration);
    const earlier = this.#indexOfData.get(data);
    if (data !== '' && earlier !== undefined) this.fail(`one try is committed at ${earlier} and ${index}`);
    if (data !== '') this.#indexOfData.set(data, index);
    if (this.#refused.has(data)) this.fail(`entry ${index} was refused but is committed`);
    this.states.committed(index, term, data);
    const key = entryKey(logIndex(index));
    const holders = this.#members.filter(({ id, disk, damage, running }) => {
      // What was done to a disk since it acknowledged the entry is no matter of the commit rule.
      if (damage !== undefined && running === undefined) return true;
      const record = disk.durable(key);
      if (record === undefined) return (this.#hardStateOf(id)?.base.index ?? 0) >= index;
      return Buffer.from(record).readUInt32BE(11) === term;
    });
    const ids = holders.map(({ id }) => id);
    if (!decide(ids, configuration)) {
      this.fail(`entry ${index} is committed but durable on members ${ids.join()} only`);
    }
  }

  /** Ids only grow, and voters change by one or through two halves. */
  #membersChanged(next: Configuration): void {
    const before = this.#configuration;
    this.#configuration = next;
    this.#counts.add('membership-change');
    const known = new Set(before.members.map(({ id }) => id));
    const reused = next.members.some(({ id }) => !known.has(id) && id < before.nextMemberId);
    if (reused || next.nextMemberId < before.nextMemberId) this.fail(`entry ${next.index} gives an id again`);
    if (before.outgoing.length > 0 || next.outgoing.length > 0) return;
    const [old = [], now = []] = [halves(before)[0], halves(next)[0]];
    const changed =
      old.filter((id) => !now.includes(id)).length + now.filter((id) => !old.includes(id)).length;
    if (changed > 1) this.fail(`entry ${next.index} changes ${changed} voters at once`);
  }

  #lookAtApplied(id: MemberId, entry: CommittedEntry): void {
    const known = this.#committed[entry.index];
    const seen = this.#entries.get(`${entry.index}@${entry.term}`);
    const data = seen?.configuration === undefined ? textOf(entry.data) : seen.data;
    if (known?.term !== entry.term || known.data !== data) {
      this.fail(`member ${id} applied another entry ${entry.index} than was committed`);
    }
  }
}

/** One character per byte: different bytes are different texts. */
function textOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1');
}
