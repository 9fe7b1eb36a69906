import { describe, expect, it } from 'vitest';
import type { Plan } from '../../src/scheduler/planner/types.ts';
import { rule } from '../support/rule.ts';
import { jobOf } from '../statemachine/support/world.ts';
import { outcomeOf, startedLeader } from './support/leader.ts';

const causes = (planned: Plan): string[] => planned.operations.map(({ cause }) => cause);

function workingLeader(executors: number) {
  const leader = startedLeader(jobOf(), executors);
  for (let i = 0; i < executors; i++) leader.world.seal();
  leader.settle();
  return leader;
}

describe('an executor that falls silent', () => {
  it('keeps its work while it is suspect, and loses it when its session expires', () => {
    const leader = workingLeader(2);
    const lost = [...leader.world.state.openTasks.values()].filter((task) => task.executorId === 1);
    const epoch = leader.world.source().collector?.epoch;
    expect(leader.world.source().collector?.executorId).toBe(1);
    leader.pass(leader.config.sessionMs - 1, [2]);
    expect(leader.round()).toMatchObject({ operations: [], dispatches: [] });
    leader.pass(1, [2]);
    expect(causes(leader.round())).toEqual(['executor-expired']);
    expect(causes(leader.round())).toEqual(['collector-takeover', 'executor-gone']);
    for (const task of lost) {
      expect(leader.world.task(task.key)).toMatchObject({ executorId: 2, version: 2 });
    }
    expect(leader.world.source().collector).toMatchObject({ executorId: 2 });
    expect(leader.world.source().collector?.epoch).not.toBe(epoch);
    leader.settle();
  });

  it('counts a version as failed only if the executor worked on it when it vanished', () => {
    const leader = workingLeader(2);
    const [held, waiting] = [...leader.world.state.openTasks.values()];
    leader.hear(1, { running: new Set([held?.executorId === 1 ? held.token : (waiting?.token ?? '')]) });
    leader.world.accept({ type: 'executor.expire', v: 1, executorId: 1, reason: '' });
    leader.settle();
    const moved = [...leader.world.state.openTasks.values()].filter((task) => task.version === 2);
    expect(moved.map((task) => task.attempts)).toEqual([1]);
  });

  it('that said goodbye is replaced at once', () => {
    const leader = workingLeader(2);
    expect(causes(leader.round({ type: 'executor-goodbye', executorId: 1 }))).toEqual(['executor-left']);
    leader.settle();
    expect([...leader.world.state.openTasks.values()].map((task) => task.executorId)).toEqual([2, 2]);
    expect(leader.round({ type: 'executor-goodbye', executorId: 1 }).operations).toEqual([]);
  });

  it('leaves its tasks where they are while nobody else has room', () => {
    const leader = workingLeader(1);
    leader.pass(leader.config.sessionMs, []);
    leader.settle();
    expect(leader.world.state.executors.size).toBe(0);
    leader.pass(60_000, []);
    expect(leader.round().operations).toEqual([]);
    leader.hear(leader.world.executor('fresh'));
    expect(causes(leader.round())).toEqual(['collector-takeover', 'executor-gone']);
  });
});

describe('the brake', () => {
  rule('scheduler.noBrake', 'holds reassignment once, for one session, when too many vanish together', () => {
    const leader = workingLeader(10);
    leader.pass(leader.config.sessionMs, [1, 2, 3, 4, 5, 6]);
    expect(leader.round().operations).toEqual([]);
    leader.pass(leader.config.sessionMs - 1, [1, 2, 3, 4, 5, 6]);
    expect(leader.round().operations).toEqual([]);
    leader.pass(1, [1, 2, 3, 4, 5, 6]);
    expect(causes(leader.round())).toEqual(Array.from({ length: 4 }, () => 'executor-expired'));
  });

  it('is not pulled by three, and is let go when enough come back', () => {
    const leader = workingLeader(10);
    leader.pass(leader.config.sessionMs, [1, 2, 3, 4, 5, 6, 7]);
    expect(causes(leader.round())).toHaveLength(3);
    const other = workingLeader(10);
    other.pass(other.config.sessionMs, [1, 2, 3, 4, 5]);
    expect(other.round().operations).toEqual([]);
    for (const back of [6, 7, 8]) other.hear(back);
    expect(causes(other.round())).toEqual(['executor-expired', 'executor-expired']);
  });
});

describe('a new leader', () => {
  rule('scheduler.judgesAtOnce', 'judges nobody for one session', () => {
    const leader = workingLeader(2);
    const next = leader.successor();
    // What it knows of executor 1 is older than its own leadership.
    next.hear(1);
    next.hear(2);
    next.pass(leader.config.sessionMs - 1, [2]);
    next.leaderSinceMs = next.nowMs;
    next.pass(leader.config.sessionMs - 1, [2]);
    expect(causes(next.round())).not.toContain('executor-expired');
    next.pass(1, [2]);
    expect(causes(next.round())).toContain('executor-expired');
  });

  it('does not expire an executor that registered a moment ago and has no stream yet', () => {
    const leader = startedLeader(jobOf(), 1);
    leader.pass(60_000);
    leader.world.executor('late');
    expect(leader.round().operations).toEqual([]);
    leader.pass(leader.config.sessionMs - 1);
    expect(leader.round().operations).toEqual([]);
    leader.pass(1);
    expect(causes(leader.round())).toEqual(['executor-expired']);
  });

  it('adopts live grants unchanged, and sends again only what nobody holds', () => {
    const leader = workingLeader(2);
    const tasks = [...leader.world.state.openTasks.values()];
    const { digest } = leader.world.state;
    const next = leader.successor();
    expect(next.round()).toMatchObject({ operations: [], dispatches: [] });
    const [held, lost] = tasks;
    const { collector } = leader.world.source();
    const collecting = new Set([collector?.epoch ?? '']);
    for (const executorId of [1, 2]) {
      const running = new Set(held?.executorId === executorId ? [held.token] : []);
      next.hear(executorId, executorId === collector?.executorId ? { running, collecting } : { running });
    }
    const planned = next.round();
    expect(planned.operations).toEqual([]);
    expect(planned.dispatches).toMatchObject([{ kind: 'task', task: { key: lost?.key, version: 1 } }]);
    next.pass(500);
    expect(next.round()).toMatchObject({ operations: [], dispatches: [] });
    expect(leader.world.state.digest).toBe(digest);
    next.round(...tasks.map((task) => outcomeOf(task)));
    expect(next.world.state.openTasks.size).toBe(0);
  });

  rule('scheduler.collectorKeepsEpoch', 'gives a collector that stopped meanwhile a new epoch', () => {
    const leader = workingLeader(2);
    const { collector } = leader.world.source();
    const next = leader.successor();
    next.hear(1);
    next.hear(2);
    expect(causes(next.round())).toEqual(['collector-takeover']);
    expect(BigInt(next.world.source().collector?.epoch ?? '')).toBeGreaterThan(
      BigInt(collector?.epoch ?? ''),
    );
  });
});

describe('a stream that broke', () => {
  rule('scheduler.collectorKeepsEpoch', 'costs a collector that is not hosted any more its epoch', () => {
    const leader = workingLeader(1);
    const { collector } = leader.world.source();
    leader.pass(100);
    leader.hear(1, { connectedSinceMs: leader.nowMs, collecting: new Set() });
    expect(causes(leader.round())).toEqual(['collector-takeover']);
    expect(leader.world.source().collector?.epoch).not.toBe(collector?.epoch);
    leader.settle();
  });

  it('costs nothing when the executor still hosts and holds everything', () => {
    const leader = workingLeader(1);
    leader.pass(100);
    leader.hear(1, { connectedSinceMs: leader.nowMs });
    expect(leader.round()).toMatchObject({ operations: [], dispatches: [] });
  });

  it('or a lost message makes a task be sent again under the same version', () => {
    const leader = workingLeader(1);
    const [task] = [...leader.world.state.openTasks.values()];
    leader.hear(1, { running: new Set() });
    leader.pass(leader.config.resendAfterMs - 1);
    expect(leader.round().dispatches).toEqual([]);
    leader.pass(1);
    expect(leader.round().dispatches).toMatchObject([{ kind: 'task', task: { token: task?.token } }]);
    expect(leader.round().dispatches).toEqual([]);
  });
});

describe('a collector that stops', () => {
  it('is granted elsewhere, after delays that double until a window is sealed', () => {
    const leader = workingLeader(2);
    const { sourceRetryBaseMs } = leader.config;
    const stop = () => {
      const epoch = leader.world.source().collector?.epoch ?? '';
      leader.round({ type: 'collector-stopped', sourceId: 1, epoch, code: 'DB_UNREACHABLE', message: 'x' });
    };
    let host = leader.world.source().collector?.executorId;
    for (const delayMs of [1, 2, 4].map((times) => times * sourceRetryBaseMs)) {
      stop();
      expect(leader.world.source()).toMatchObject({ collector: null, problem: 'DB_UNREACHABLE: x' });
      leader.pass(delayMs - 1);
      expect(causes(leader.round())).toEqual([]);
      leader.pass(1);
      expect(causes(leader.round())).toEqual(['collector-takeover']);
      expect(leader.world.source().collector?.executorId).not.toBe(host);
      host = leader.world.source().collector?.executorId;
      leader.settle();
    }
    leader.world.seal();
    stop();
    expect(leader.world.source().retryAtMs).toBe(leader.world.logTimeMs + sourceRetryBaseMs);
  });

  it('under an earlier epoch changes nothing', () => {
    const leader = workingLeader(1);
    const stopped = { type: 'collector-stopped', sourceId: 1, epoch: '1', code: '', message: '' } as const;
    expect(leader.round(stopped)).toMatchObject({ operations: [], stale: [stopped] });
  });
});
