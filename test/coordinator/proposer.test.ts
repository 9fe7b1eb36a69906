import { describe, expect, test } from 'vitest';
import { rule } from '../support/rule.ts';
import {
  LIMITS,
  TidemarkError,
  clusterId,
  logIndex,
  memberId,
  term,
  type Clock,
} from '../../src/base/index.ts';
import { createProposer, type Proposer } from '../../src/coordinator/proposer.ts';
import type { RaftStatus } from '../../src/raft/index.ts';
import { encodeReplies } from '../../src/statemachine/commands/replies.ts';
import {
  MemoryState,
  applyEntry,
  decodeEntry,
  type Entry,
  type Operation,
} from '../../src/statemachine/index.ts';
import { membershipOf } from '../raft/support/membership.ts';

const wake: Operation = { type: 'task.wake', v: 1, keys: [] };
const open = (name: string): Operation => ({ type: 'session.open', v: 1, name });

/** Consensus of one node that commits at once; entries are applied by the real state machine. */
class OneNode {
  readonly entries: Entry[] = [];
  readonly state = new MemoryState();
  nowMs = 1_000;
  term = 3;
  leading = true;
  failure: TidemarkError | undefined;
  readonly proposer: Proposer;

  constructor() {
    const clock: Clock = {
      monotonicMs: () => this.nowMs,
      wallMs: () => 1_700_000_000_000,
      after: () => () => undefined,
    };
    this.proposer = createProposer({
      raft: { status: () => this.status(), propose: (data) => this.propose(data) },
      clock,
      appliedLogTimeMs: () => 50_000,
    });
  }

  status(): RaftStatus {
    const index = logIndex(this.entries.length);
    return {
      clusterId: clusterId('00'.repeat(16)),
      memberId: memberId(1),
      role: this.leading ? 'leader' : 'follower',
      term: term(this.term),
      leaderId: memberId(this.leading ? 1 : 2),
      leading: this.leading,
      commitIndex: index,
      appliedIndex: index,
      lastIndex: index,
      ...membershipOf([1, 2]),
      leaderContactMs: 0,
    };
  }

  propose(data: Uint8Array): ReturnType<Parameters<typeof createProposer>[0]['raft']['propose']> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const entry = decodeEntry(data);
    this.entries.push(entry);
    const index = this.entries.length;
    const reply = encodeReplies(applyEntry(this.state, entry, { index, term: this.term }));
    return Promise.resolve({ index: logIndex(index), term: term(this.term), reply });
  }
}

describe('the proposer', () => {
  test('gathers one turn into one entry, and gives each caller its own results', async () => {
    const node = new OneNode();
    const results = await Promise.all([
      node.proposer.propose([open('a'), open('b')]),
      node.proposer.propose([open('x'.repeat(LIMITS.nameLengthMax + 1))]),
      node.proposer.propose([open('c')]),
    ]);
    expect(node.entries).toHaveLength(1);
    expect(results).toMatchObject([
      [
        { ok: true, value: { sessionId: 1 } },
        { ok: true, value: { sessionId: 2 } },
      ],
      [{ ok: false, code: 'BAD_REQUEST' }],
      [{ ok: true, value: { sessionId: 3 } }],
    ]);
  });

  test('stamps log time: what it found plus monotonic time since; a new term begins anew [R36]', async () => {
    const node = new OneNode();
    await node.proposer.propose([wake]);
    node.nowMs += 250.7;
    await node.proposer.propose([wake]);
    node.term += 1;
    node.nowMs += 10_000;
    await node.proposer.propose([wake]);
    expect(node.entries.map(({ logTimeMs }) => logTimeMs)).toEqual([50_000, 50_250, 50_000]);
  });

  test('splits a turn that does not fit one entry, by operations and by bytes, in order', async () => {
    const node = new OneNode();
    const many = Array.from({ length: LIMITS.opsPerEntryMax }, () => wake);
    await Promise.all([node.proposer.propose(many), node.proposer.propose([wake])]);
    expect(node.entries.map(({ items }) => items.length)).toEqual([1, 1]);

    const big = { ...wake, keys: ['k'.repeat(LIMITS.raftEntryBytesMax * 0.4)] };
    await Promise.all([1, 2, 3].map(() => node.proposer.propose([big])));
    const bytes = node.entries.slice(2).map(({ items }) => items.length);
    expect(bytes).toEqual([2, 1]);
  });

  test('refuses what no entry can hold, alone: the others of the turn are committed', async () => {
    const node = new OneNode();
    const tooBig = { ...wake, keys: ['k'.repeat(LIMITS.raftEntryBytesMax)] };
    const malformed = { ...wake, keys: 7 } as unknown as Operation;
    const results = await Promise.allSettled([
      node.proposer.propose([open('good')]),
      node.proposer.propose([tooBig]),
      node.proposer.propose([malformed]),
      node.proposer.propose([open('also good')]),
    ]);
    const codes = results.map((result) =>
      result.status === 'rejected' ? (result.reason as TidemarkError).code : 'ok',
    );
    expect(codes).toEqual(['ok', 'MESSAGE_TOO_LARGE', 'BAD_REQUEST', 'ok']);
  });

  rule(
    'coordinator.proposeOfOlderTerm',
    'refuses what an earlier term planned, though it leads again [R63 R75]',
    async () => {
      const node = new OneNode();
      const planned = node.proposer.propose([wake]);
      node.term += 2;
      await expect(planned).rejects.toMatchObject({ code: 'NOT_LEADER' });
      expect(node.entries).toEqual([]);
    },
  );

  test('on a follower says who leads and where', async () => {
    const node = new OneNode();
    node.leading = false;
    await expect(node.proposer.propose([wake])).rejects.toMatchObject({
      code: 'NOT_LEADER',
      details: { leader: 'client-2:1' },
    });
  });

  test('bounds what waits: OVERLOADED, until answers have come', async () => {
    const node = new OneNode();
    const waiting = Array.from({ length: LIMITS.raftProposalsQueuedMax }, () =>
      node.proposer.propose([wake]),
    );
    await expect(node.proposer.propose([wake])).rejects.toMatchObject({ code: 'OVERLOADED' });
    await Promise.all(waiting);
    await expect(node.proposer.propose([wake])).resolves.toHaveLength(1);
  });

  test('hands an unknown outcome to every caller of the entry', async () => {
    const node = new OneNode();
    node.failure = new TidemarkError('OUTCOME_UNKNOWN', 'leadership was lost');
    const results = await Promise.allSettled([node.proposer.propose([wake]), node.proposer.propose([wake])]);
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'OUTCOME_UNKNOWN' } });
    expect(node.proposer.counters.failed).toBe(2);
  });

  test('takes an item without operations: so a repeated request asks for its first answer', async () => {
    const node = new OneNode();
    await node.proposer.propose([open('client')]);
    const as = { session: 1, sequence: 1 };
    const first = await node.proposer.propose([open('made by the request')], as);
    expect(await node.proposer.propose([], as)).toEqual(first);
  });

  test('a numbered request of a session runs once', async () => {
    const node = new OneNode();
    await node.proposer.propose([open('client')]);
    const as = { session: 1, sequence: 1 };
    const first = await node.proposer.propose([open('made by the request')], as);
    const again = await node.proposer.propose([open('made by the request')], as);
    expect(again).toEqual(first);
    expect(first).toMatchObject([{ ok: true, value: { sessionId: 2 } }]);
  });
});
