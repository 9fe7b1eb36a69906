import { describe, expect, it } from 'vitest';
import { LIMITS, type ErrorCode } from '../../src/base/index.ts';
import type { Plan, StatesOutcome } from '../../src/scheduler/planner/types.ts';
import { jobWithStates, sealOf } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { outcomeOf, startedLeader, type Leader } from './support/leader.ts';

const causes = (planned: Plan): string[] => planned.operations.map(({ cause }) => cause);

/** A leader over a source that keeps row states on the shards s1 and s2. */
function started(executors = 2): Leader {
  return startedLeader(jobWithStates(), executors);
}

function seal(leader: Leader, rows = 3, change: Partial<ReturnType<typeof sealOf>> = {}): void {
  const source = leader.world.source();
  const shards = ['s1', 's2'].map((shard) => ({ shard, rows, checksum: '00' }));
  leader.world.accept(sealOf(source, source.lastWindow + 1, { shards, ...change }));
}

function statesOf(leader: Leader, shard = 's1') {
  const states = leader.world.source().states?.find((known) => known.shard === shard);
  if (states === undefined) throw new Error(`no row states on ${shard}`);
  return states;
}

function outcome(leader: Leader, change: Partial<StatesOutcome> = {}, shard = 's1'): StatesOutcome {
  const { grant } = statesOf(leader, shard);
  return {
    type: 'states-outcome',
    sourceId: 1,
    shard,
    token: grant?.token ?? '',
    window: grant?.lastWindow ?? 0,
    code: '',
    message: '',
    ...change,
  };
}

const failure = (leader: Leader, code: ErrorCode = 'DB_BUSY'): StatesOutcome =>
  outcome(leader, { window: 0, code, message: 'why' });

describe('row states', () => {
  it('are granted, sent, finished and granted on, shard by shard', () => {
    const leader = started();
    seal(leader);
    expect(causes(leader.round())).toEqual(['states-granted', 'states-granted']);
    expect(leader.round().dispatches).toMatchObject([
      { kind: 'states', states: { shard: 's1' } },
      { kind: 'states', states: { shard: 's2' } },
    ]);
    seal(leader);
    // Never two at once on one shard.
    expect(leader.round()).toMatchObject({ operations: [], dispatches: [] });
    expect(causes(leader.round(outcome(leader)))).toEqual(['states-finished']);
    expect(causes(leader.round())).toContain('states-granted');
    expect(statesOf(leader)).toMatchObject({ window: 1, grant: { firstWindow: 2, lastWindow: 2 } });
    expect(statesOf(leader, 's2')).toMatchObject({ window: 0, grant: { firstWindow: 1, lastWindow: 1 } });
  });

  it('take as many windows at once as are sealed, up to a number of rows', () => {
    const leader = started();
    for (let i = 0; i < 5; i++) seal(leader, LIMITS.statesRowsPerGrantMax / 3);
    leader.round();
    expect(statesOf(leader).grant).toMatchObject({ firstWindow: 1, lastWindow: 3 });
    leader.round(outcome(leader));
    leader.round();
    expect(statesOf(leader).grant).toMatchObject({ firstWindow: 4, lastWindow: 5 });
  });

  it('take a single window that has more rows, and no more windows than fit a message', () => {
    const leader = started();
    seal(leader, LIMITS.statesRowsPerGrantMax * 10);
    for (let i = 0; i < LIMITS.statesWindowsPerGrantMax + 3; i++) seal(leader);
    leader.round();
    expect(statesOf(leader).grant).toMatchObject({ firstWindow: 1, lastWindow: 1 });
    leader.round(outcome(leader));
    leader.round();
    expect(statesOf(leader).grant).toMatchObject({ lastWindow: 1 + LIMITS.statesWindowsPerGrantMax });
  });

  it('never share a grant over a change of schema', () => {
    const leader = started();
    seal(leader);
    seal(leader);
    seal(leader, 3, { schemaVersions: [{ table: 'orders', version: 2 }] });
    leader.round();
    expect(statesOf(leader).grant).toMatchObject({ lastWindow: 2 });
  });

  it('have slots of their own: full task slots do not keep them waiting', () => {
    const leader = startedLeader(jobWithStates(), 1, { slots: 1 });
    for (let i = 0; i < 4; i++) seal(leader);
    leader.settle();
    for (const shard of ['s1', 's2']) leader.round(outcome(leader, {}, shard));
    leader.settle();
    expect(leader.world.state.openTasks.size).toBe(2);
    seal(leader);
    expect(causes(leader.round())).toEqual(['states-granted', 'states-granted']);
  });

  it('of an executor that is gone go to another, whose grant kills the old connection', () => {
    const leader = started();
    seal(leader);
    leader.settle();
    const { token, executorId } = statesOf(leader).grant ?? { token: '', executorId: 0 };
    const other = executorId === 1 ? 2 : 1;
    leader.pass(leader.config.sessionMs, [other]);
    leader.settle();
    expect(statesOf(leader)).toMatchObject({ grant: { executorId: other }, superseded: [token] });
  });

  it('past their deadline go elsewhere, then wait; each is given longer', () => {
    const leader = started();
    seal(leader, 0);
    leader.settle();
    const first = statesOf(leader).grant;
    leader.pass(leader.config.taskDeadlineMs - 1);
    expect(leader.round().operations).toEqual([]);
    leader.pass(1);
    const late = leader.round().operations[0];
    expect(late).toMatchObject({ cause: 'states-taken-over', replacesStates: { token: first?.token } });
    expect(statesOf(leader).grant?.executorId).not.toBe(first?.executorId);
    leader.settle();
    leader.pass(2 * leader.config.taskDeadlineMs);
    leader.settle();
    expect(statesOf(leader)).toMatchObject({ attempts: 2 });
    leader.pass(3 * leader.config.taskDeadlineMs);
    expect(causes(leader.round())).toContain('states-failed');
    expect(statesOf(leader)).toMatchObject({ attempts: 3, grant: null });
    leader.pass(leader.config.sourceRetryBaseMs);
    leader.settle();
    expect(statesOf(leader).grant).not.toBeNull();
  });

  it('of a large window are given time for its rows', () => {
    const leader = started();
    seal(leader, 1_000_000);
    leader.settle();
    leader.pass(leader.config.taskDeadlineMs + 1_000 * leader.config.statesThousandRowsMs - 1);
    expect(leader.round().operations).toEqual([]);
    leader.pass(1);
    expect(causes(leader.round())).toContain('states-taken-over');
  });

  it('that failed go to another executor at once, and later after longer and longer delays', () => {
    const leader = started();
    seal(leader);
    leader.settle();
    const hosts = [statesOf(leader).grant?.executorId];
    for (const attempts of [1, 2]) {
      expect(causes(leader.round(failure(leader)))).toEqual(['states-failed']);
      expect(statesOf(leader)).toMatchObject({ attempts, problem: 'DB_BUSY: why' });
      leader.settle();
      hosts.push(statesOf(leader).grant?.executorId);
    }
    expect(hosts[1]).not.toBe(hosts[0]);
    expect(hosts[2]).toBe(hosts[0]);
    const { sourceRetryBaseMs } = leader.config;
    for (const delay of [sourceRetryBaseMs, 2 * sourceRetryBaseMs]) {
      leader.round(failure(leader));
      leader.pass(delay - 1);
      expect(leader.round().operations).toEqual([]);
      leader.pass(1);
      leader.settle();
      expect(statesOf(leader).grant).not.toBeNull();
    }
    leader.round(outcome(leader));
    expect(statesOf(leader)).toMatchObject({ window: 1, attempts: 0, problem: '' });
  });

  it('whose mark went back are granted again from there', () => {
    const leader = started();
    for (let i = 0; i < 3; i++) seal(leader);
    leader.settle();
    leader.round(outcome(leader));
    seal(leader);
    leader.settle();
    const lost = outcome(leader, { window: 1, code: 'STATE_GAP', message: 'mark at 1' });
    expect(causes(leader.round(lost))).toEqual(['states-reset']);
    leader.settle();
    expect(statesOf(leader)).toMatchObject({ window: 1, grant: { firstWindow: 2, lastWindow: 4 } });
  });

  rule('scheduler.statesLoseWholeGrant', 'have only what is missing captured again', () => {
    const leader = started();
    for (let i = 0; i < 4; i++) seal(leader);
    leader.settle();
    leader.round(outcome(leader, { window: 0, code: 'WINDOW_INCOMPLETE', message: 'x', lostWindow: 3 }));
    expect(leader.world.source().lost.map(({ window }) => window)).toEqual([3, 4]);
  });

  it('are sent again when a heartbeat does not list them, and over a new stream', () => {
    const leader = started(1);
    seal(leader);
    leader.settle();
    leader.pass(leader.config.resendAfterMs);
    leader.hear(1, { running: new Set() });
    expect(leader.round().dispatches).toMatchObject([{ kind: 'states' }, { kind: 'states' }]);
    leader.pass(10);
    leader.hear(1, { running: new Set(), connectedSinceMs: leader.nowMs });
    expect(leader.round().dispatches).toMatchObject([{ kind: 'states' }, { kind: 'states' }]);
  });

  it('ignore what an old grant says', () => {
    const leader = started();
    seal(leader);
    leader.settle();
    const old = outcome(leader, { token: `${BigInt(outcome(leader).token) - 1n}` });
    expect(leader.round(old)).toMatchObject({ operations: [], stale: [old] });
  });
});

describe('tasks that read row states', () => {
  const tasks = (planned: Plan): number[] =>
    planned.operations.flatMap(({ operation }) =>
      operation.type === 'task.grant' ? [operation.firstWindow] : [],
    );

  rule('scheduler.statesNotAwaited', 'are granted when every shard has reached their window', () => {
    const leader = started();
    for (let i = 0; i < 3; i++) seal(leader);
    expect(tasks(leader.round())).toEqual([]);
    leader.settle();
    expect(tasks(leader.round(outcome(leader)))).toEqual([]);
    leader.settle();
    expect(leader.world.state.openTasks.size).toBe(0);
    leader.round(outcome(leader, {}, 's2'));
    // The first window alone, then a span of two.
    expect(tasks(leader.round())).toEqual([1, 2]);
  });

  it('stay in the delay queue while the row states are further back than they were', () => {
    const leader = started(1);
    for (let i = 0; i < 2; i++) seal(leader);
    leader.settle();
    for (const shard of ['s1', 's2']) leader.round(outcome(leader, {}, shard));
    leader.settle();
    const task = () => leader.world.task('1/1/2/0');
    for (let i = 0; i < leader.config.attemptsMax; i++) {
      leader.round(outcomeOf(task(), { result: 'FAILED', code: 'STATE_BEHIND', message: 'x' }));
      leader.settle();
    }
    expect(task().state).toBe('PARKED');
    seal(leader);
    leader.settle();
    leader.round(outcome(leader, { window: 0, code: 'STATE_GAP' }));
    leader.settle();
    leader.pass(leader.config.parkCapMs);
    expect(tasks(leader.round())).not.toContain(2);
    leader.round(outcome(leader));
    expect(tasks(leader.round())).toContain(2);
  });
});
