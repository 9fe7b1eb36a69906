/**
 * Gathers what one turn of the leader's loop proposes into one log entry, stamps it with log time and wall
 * time, and hands each caller the results of its own operations (design section 4).
 *
 * A proposal belongs to the term in which it was made: if the node lost and won leadership before the turn
 * ended, what was planned on the older view is refused with `NOT_LEADER` instead of being proposed.
 */
import {
  AssertionError,
  LIMITS,
  TidemarkError,
  assert,
  isTidemarkError,
  must,
  mutated,
} from '../base/index.ts';
import type { Clock } from '../base/index.ts';
import type { RaftNode } from '../raft/index.ts';
import { decodeReplies, encodeEntry, LogClock } from '../statemachine/index.ts';
import type { EntryItem, Operation, OperationResult } from '../statemachine/index.ts';
import { notLeader } from './coded-error.ts';

export interface ProposerOptions {
  readonly raft: Pick<RaftNode, 'propose' | 'status'>;
  readonly clock: Clock;
  /** Log time of the applied state. */
  readonly appliedLogTimeMs: () => number;
}

/** Who proposes: a session's numbered request is applied once, however often it is sent. */
export interface Proposing {
  readonly session: number;
  readonly sequence: number;
  /** The session has all answers up to this sequence. */
  readonly acked?: number;
}

export interface Proposer {
  /**
   * Commits the operations in one entry, in order.
   * @throws TidemarkError `NOT_LEADER`, `OVERLOADED`, `LOG_FULL`, `MESSAGE_TOO_LARGE` (nothing was proposed),
   * `OUTCOME_UNKNOWN`, `STOPPING`.
   */
  propose(operations: readonly Operation[], as?: Proposing): Promise<readonly OperationResult[]>;
  readonly counters: { readonly entries: number; readonly operations: number; readonly failed: number };
}

interface Waiting {
  readonly item: EntryItem;
  readonly term: number;
  readonly resolve: (results: readonly OperationResult[]) => void;
  readonly reject: (error: unknown) => void;
}

export function createProposer(options: ProposerOptions): Proposer {
  return new TurnProposer(options);
}

class TurnProposer implements Proposer {
  readonly counters = { entries: 0, operations: 0, failed: 0 };
  readonly #options: ProposerOptions;
  readonly #stamp: (term: number) => number;
  #queue: Waiting[] = [];
  #unanswered = 0;

  constructor(options: ProposerOptions) {
    this.#options = options;
    this.#stamp = createStamp(options);
  }

  propose(operations: readonly Operation[], as?: Proposing): Promise<readonly OperationResult[]> {
    const status = this.#options.raft.status();
    if (!status.leading) return Promise.reject(notLeader(status));
    if (this.#unanswered >= LIMITS.raftProposalsQueuedMax)
      return Promise.reject(overloaded(this.#unanswered));
    if (operations.length > LIMITS.opsPerEntryMax) return Promise.reject(tooMany(operations.length));
    this.counters.operations += operations.length;
    this.#unanswered += 1;
    const item = { session: as?.session ?? 0, sequence: as?.sequence ?? 0, acked: as?.acked, operations };
    const result = new Promise<readonly OperationResult[]>((resolve, reject) => {
      this.#queue.push({ item, term: status.term, resolve, reject });
    });
    if (this.#queue.length === 1) {
      setImmediate(() => {
        this.#flush();
      });
    }
    return result.finally(() => {
      this.#unanswered -= 1;
    });
  }

  #flush(): void {
    const gathered = this.#queue;
    this.#queue = [];
    const status = this.#options.raft.status();
    const current: Waiting[] = [];
    for (const waiting of gathered) {
      const sameTerm = waiting.term === status.term || mutated('coordinator.proposeOfOlderTerm');
      if (status.leading && sameTerm) current.push(waiting);
      else waiting.reject(notLeader(status));
    }
    for (const group of inGroups(current)) this.#send(group, status.term);
  }

  /**
   * What cannot be one entry, because it is too large or because one operation is malformed, is halved until
   * the item at fault stands alone and is refused alone.
   */
  #send(group: readonly Waiting[], term: number): void {
    const items = group.map(({ item }) => item);
    let data: Uint8Array;
    try {
      data = encodeEntry({ logTimeMs: this.#stamp(term), wallMs: this.#options.clock.wallMs(), items });
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      if (group.length === 1) {
        for (const { reject } of group) reject(error);
        return;
      }
      const half = Math.ceil(group.length / 2);
      this.#send(group.slice(0, half), term);
      this.#send(group.slice(half), term);
      return;
    }
    void this.#commit(group, data);
  }

  async #commit(group: readonly Waiting[], data: Uint8Array): Promise<void> {
    this.counters.entries += 1;
    try {
      const { reply } = await this.#options.raft.propose(data);
      const replies = decodeReplies(reply);
      assert(replies.length === group.length, 'an entry answers each of its items');
      for (const [position, { resolve }] of group.entries()) resolve(must(replies[position], 'reply'));
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      this.counters.failed += group.length;
      for (const { reject } of group) reject(error);
    }
  }
}

/**
 * Log time grows by the leader's monotonic clock from the log time that it found when it began to lead, so
 * that a wall clock that jumps changes nothing.
 */
function createStamp(options: ProposerOptions): (term: number) => number {
  const { appliedLogTimeMs, clock } = options;
  let office = { term: 0, logClock: new LogClock(0, 0) };
  return (term) => {
    const [appliedMs, monotonicMs] = [appliedLogTimeMs(), clock.monotonicMs()];
    if (office.term !== term) office = { term, logClock: new LogClock(appliedMs, monotonicMs) };
    return office.logClock.at(monotonicMs, appliedMs);
  };
}

/** Splits by the number of operations an entry may hold; an item, which may have none, is never split. */
function inGroups(waiting: readonly Waiting[]): Waiting[][] {
  const groups: Waiting[][] = [];
  let group: Waiting[] = [];
  let operations = 0;
  for (const one of waiting) {
    operations += one.item.operations.length;
    if (operations > LIMITS.opsPerEntryMax) {
      groups.push(group);
      group = [];
      operations = one.item.operations.length;
    }
    group.push(one);
  }
  return group.length === 0 ? groups : [...groups, group];
}

function overloaded(waiting: number): TidemarkError {
  return new TidemarkError('OVERLOADED', `${waiting} changes wait for the log already`, {
    next: 'Try again later.',
  });
}

function tooMany(operations: number): TidemarkError {
  const limit = LIMITS.opsPerEntryMax;
  return new TidemarkError('MESSAGE_TOO_LARGE', `${operations} operations at once; an entry holds ${limit}`);
}
