/**
 * What must hold after every single event of a simulated run. The oracles look at cores, disks and frames;
 * they share no rule with the code that they judge.
 */
import { logIndex, must, type MemberId } from '../../../src/base/index.ts';
import type { HardState } from '../../../src/raft/core/index.ts';
import type { CommittedEntry, RaftStatus } from '../../../src/raft/index.ts';
import { HARD_STATE_KEY, decodeHardState, entryKey } from '../../../src/raft/log-store/index.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import type { Counts } from './counts.ts';
import type { SimDisk } from './disk.ts';
import type { SimMember } from './member.ts';

export class Violation extends Error {
  override readonly name = 'Violation';
}

interface Known {
  readonly term: number;
  readonly data: string;
}

export class Oracles {
  readonly #members: readonly SimMember[];
  readonly #counts: Counts;
  readonly #leaderOfTerm = new Map<number, MemberId>();
  readonly #votes = new Map<string, MemberId>();
  /** Per link: frames of one turn leave in an order of peers, not of time. */
  readonly #promisedTerm = new Map<string, number>();
  /** Terms of each member's log, as seen after the last event. */
  readonly #shadows = new Map<MemberId, number[]>();
  /** Every entry that ever was in a log: what it held, and the term of the entry before it. */
  readonly #entries = new Map<string, { readonly data: string; readonly prevTerm: number }>();
  readonly #committed: (Known | undefined)[] = [undefined];
  readonly #digests: string[] = [];
  readonly #seenCommit = new Map<object, number>();
  readonly #seenApplied = new Map<object, number>();
  readonly #indexOfData = new Map<string, number>();
  readonly #refused = new Set<string>();
  readonly #answers: { readonly data: string; readonly index: number }[] = [];
  #failure: Violation | undefined;

  constructor(members: readonly SimMember[], counts: Counts) {
    this.#members = members;
    this.#counts = counts;
  }

  /** The highest index that any member has seen committed. */
  get committedIndex(): number {
    return this.#committed.length - 1;
  }

  /** Throws the first violation, also one that was noticed inside the product's call stack. */
  check(): void {
    for (const member of this.#members) this.#look(member);
    for (const { data, index } of this.#answers.splice(0)) {
      if (this.#committed[index]?.data !== data) this.fail(`what was answered is not entry ${index}`);
    }
    if (this.#failure !== undefined) throw this.#failure;
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
    for (let index = 1; index <= this.committedIndex; index++) {
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

  #hardStateOf(id: MemberId): HardState | undefined {
    const stored = this.#diskOf(id).durable(HARD_STATE_KEY);
    return stored === undefined ? undefined : decodeHardState(stored);
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
    if (index === 0 || this.#diskOf(follower).durable(entryKey(logIndex(index))) !== undefined) return;
    this.fail(`member ${follower} acknowledges entry ${index} before its disk has it`);
  }

  #diskOf(id: MemberId): SimDisk {
    return must(
      this.#members.find((member) => member.id === id),
      `member ${id}`,
    ).disk;
  }

  refused(data: Uint8Array): void {
    this.#refused.add(textOf(data));
  }

  /** A proposal was answered: it is in the log, once, where the answer says. */
  acknowledged(data: Uint8Array, index: number): void {
    this.#answers.push({ data: textOf(data), index });
  }

  #look(member: SimMember): void {
    const life = member.running;
    if (life === undefined) {
      this.#shadows.delete(member.id);
      return;
    }
    this.#lookAtLog(member);
    this.#lookAtCommit(member);
    const applied = life.state.applied;
    for (let at = this.#seenApplied.get(life.state) ?? 0; at < applied.length; at++) {
      const entry = applied[at];
      if (entry === undefined) continue;
      this.#lookAtApplied(member.id, entry);
      this.#lookAtDigest(member.id, entry.index, life.state.digests[at + 1] ?? '');
    }
    this.#seenApplied.set(life.state, applied.length);
  }

  /** Log matching, by induction: an entry of one index and term is always the same and follows the same. */
  #lookAtLog(member: SimMember): void {
    const core = member.running?.driver.core;
    if (core === undefined) return;
    const shadow = this.#shadows.get(member.id) ?? [0];
    this.#shadows.set(member.id, shadow);
    const { lastIndex } = core;
    if (shadow.length === lastIndex + 1 && shadow[lastIndex] === core.termAt(lastIndex)) return;
    let same = Math.min(shadow.length - 1, lastIndex);
    while (same > 0 && shadow[same] !== core.termAt(logIndex(same))) same--;
    if (same < shadow.length - 1) this.#counts.add('replaced-entries');
    shadow.length = same + 1;
    for (let index = same + 1; index <= lastIndex; index++) {
      const term = core.termAt(logIndex(index)) ?? 0;
      shadow.push(term);
      const entry = core.entries(logIndex(index), { entries: 1, bytes: Infinity })?.[0];
      if (entry === undefined) continue;
      const data = textOf(entry.data);
      const prevTerm = shadow[index - 1] ?? 0;
      const known = this.#entries.get(`${index}@${term}`);
      if (known === undefined) this.#entries.set(`${index}@${term}`, { data, prevTerm });
      else if (known.data !== data || known.prevTerm !== prevTerm) {
        this.fail(`entry ${index} of term ${term} differs on member ${member.id}`);
      }
    }
  }

  /** State machine safety; the leader's commit rule; and a majority of disks behind every commit. */
  #lookAtCommit(member: SimMember): void {
    const core = member.running?.driver.core;
    if (core === undefined) return;
    const { commitIndex, role, term, lastIndex } = core;
    const from = this.#seenCommit.get(core) ?? 0;
    if (commitIndex === from) return;
    if (commitIndex < from || commitIndex > lastIndex)
      this.fail(`member ${member.id} commits ${commitIndex}`);
    this.#seenCommit.set(core, commitIndex);
    if (role === 'leader' && core.termAt(commitIndex) !== term) {
      this.fail(`leader ${member.id} commits entry ${commitIndex} of an older term by counting`);
    }
    for (let index = from + 1; index <= commitIndex; index++) {
      const entryTerm = core.termAt(logIndex(index)) ?? 0;
      const known = this.#committed[index];
      if (known !== undefined && known.term !== entryTerm) {
        this.fail(`entry ${index} is committed in terms ${known.term} and ${entryTerm}`);
      }
      if (known === undefined) this.#commit(index, entryTerm);
    }
  }

  #commit(index: number, term: number): void {
    const data = this.#entries.get(`${index}@${term}`)?.data ?? '';
    this.#committed[index] = { term, data };
    const earlier = this.#indexOfData.get(data);
    if (data !== '' && earlier !== undefined) this.fail(`one try is committed at ${earlier} and ${index}`);
    if (data !== '') this.#indexOfData.set(data, index);
    if (this.#refused.has(data)) this.fail(`entry ${index} was refused but is committed`);
    const key = entryKey(logIndex(index));
    const holders = this.#members.filter(({ disk }) => {
      const record = disk.durable(key);
      return record !== undefined && Buffer.from(record).readUInt32BE(11) === term;
    });
    if (holders.length <= this.#members.length / 2) {
      this.fail(`entry ${index} is committed but durable on ${holders.length} members only`);
    }
  }

  #lookAtApplied(id: MemberId, entry: CommittedEntry): void {
    const known = this.#committed[entry.index];
    const data = textOf(entry.data);
    if (known?.term !== entry.term || known.data !== data) {
      this.fail(`member ${id} applied another entry ${entry.index} than was committed`);
    }
  }

  /** The same entries give the same state everywhere. */
  #lookAtDigest(id: MemberId, index: number, digest: string): void {
    const known = this.#digests[index];
    if (known === undefined) this.#digests[index] = digest;
    else if (known !== digest) this.fail(`member ${id} holds another state after entry ${index}`);
  }
}

/** One character per byte: different bytes are different texts. */
function textOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1');
}
