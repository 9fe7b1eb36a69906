import { describe, expect, it } from 'vitest';
import { asToken, GRANT_BITS, TERM_MAX, tokenTerm } from '../../src/base/index.ts';
import { encodeEntry, decodeEntry } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { finishOf, grantOf, runningWorld, type World } from './support/world.ts';

function sealedWorld(): World {
  const world = runningWorld();
  world.seal();
  world.seal();
  return world;
}

describe('granting', () => {
  it('makes version 1, then each next one under a greater token', () => {
    const world = sealedWorld();
    const first = world.grant({ window: 1, executorId: 1 });
    expect(first).toMatchObject({
      key: '1/1/1/0',
      version: 1,
      state: 'ASSIGNED',
      attempts: 0,
      superseded: [],
    });
    expect(first.sinkEpoch).toBe([...world.state.sinks.values()][0]?.epoch);
    const second = world.grant({ window: 1, executorId: 1, version: 2, failedAttempt: true });
    expect(second).toMatchObject({ version: 2, attempts: 1, superseded: [first.token] });
    expect(BigInt(second.token)).toBeGreaterThan(BigInt(first.token));
  });

  rule('state.tokenFromTermOnly', 'gives every grant of one term a token of its own', () => {
    const world = sealedWorld();
    const tokens = [world.grant({ window: 1, executorId: 1 }), world.grant({ window: 2, executorId: 1 })];
    expect(BigInt(tokens[1]?.token ?? '')).toBeGreaterThan(BigInt(tokens[0]?.token ?? ''));
  });

  it('makes tokens of a later term greater than all of an earlier one, up to the last term', () => {
    const world = sealedWorld();
    let last = 0n;
    for (const term of [1, 2, 8_192, TERM_MAX]) {
      world.term = term;
      const version = last === 0n ? 1 : world.task('1/1/1/0').version + 1;
      const token = asToken(BigInt(world.grant({ window: 1, executorId: 1, version }).token));
      expect(token).toBeGreaterThan(last);
      expect(tokenTerm(token)).toBe(term);
      last = token;
    }
  });

  it('keeps tokens above 2^53 exact through grant, entry and finish', () => {
    const world = sealedWorld();
    world.term = TERM_MAX;
    const task = world.grant({ window: 1, executorId: 1 });
    expect(BigInt(task.token)).toBe((BigInt(TERM_MAX) << GRANT_BITS) | BigInt(world.state.cluster.grants));
    expect(BigInt(Number(task.token))).not.toBe(BigInt(task.token));
    const entry = {
      logTimeMs: 1,
      wallMs: 1,
      items: [{ session: 0, sequence: 0, operations: [finishOf(task)] }],
    };
    expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
    const neighbour = { ...task, token: String(BigInt(task.token) - 1n) };
    expect(world.refuse(finishOf(neighbour))).toBe('STALE_VERSION');
    world.accept(finishOf(task));
  });

  it('refuses another version than the next, and a finished task', () => {
    const world = sealedWorld();
    world.openTo(1);
    expect(world.refuse(grantOf({ window: 1, executorId: 1, version: 2 }))).toBe('STALE_VERSION');
    const task = world.grant({ window: 1, executorId: 1 });
    expect(world.refuse(grantOf({ window: 1, executorId: 1 }))).toBe('STALE_VERSION');
    expect(world.refuse(grantOf({ window: 1, executorId: 1, version: 3 }))).toBe('STALE_VERSION');
    world.accept(finishOf(task));
    expect(world.refuse(grantOf({ window: 1, executorId: 1, version: 2 }))).toBe('TASK_FINISHED');
  });

  it('refuses what is no task, and an executor that is not registered', () => {
    const world = sealedWorld();
    world.openTo(1);
    expect(world.refuse(grantOf({ window: 2, executorId: 1 }))).toBe('UNKNOWN_TASK');
    expect(world.refuse(grantOf({ window: 1, part: 1, executorId: 1 }))).toBe('UNKNOWN_TASK');
    expect(world.refuse({ ...grantOf({ window: 1, executorId: 1 }), lastWindow: 2 })).toBe('UNKNOWN_TASK');
    expect(world.refuse(grantOf({ window: 1, report: 2, executorId: 1 }))).toBe('UNKNOWN_REPORT');
    expect(world.refuse(grantOf({ window: 1, generation: 2, executorId: 1 }))).toBe('UNKNOWN_REPORT');
    expect(world.refuse(grantOf({ window: 1, executorId: 2 }))).toBe('UNKNOWN_EXECUTOR');
  });
});

describe('finishing', () => {
  rule('state.doneOfOldVersion', 'accepts the end of a task from its current version only', () => {
    const world = sealedWorld();
    const old = world.grant({ window: 1, executorId: 1 });
    const current = world.grant({ window: 1, executorId: 1, version: 2 });
    expect(world.refuse(finishOf(old))).toBe('STALE_VERSION');
    expect(world.refuse(finishOf({ ...current, version: 1 }))).toBe('STALE_VERSION');
    expect(world.task(old.key).state).toBe('ASSIGNED');
    world.accept(finishOf(current));
  });

  it('answers a repetition as at first, and refuses another end', () => {
    const world = sealedWorld();
    const task = world.grant({ window: 1, executorId: 1 });
    const answer = world.accept(finishOf(task));
    const { digest } = world.state;
    expect(world.accept(finishOf(task))).toEqual(answer);
    expect(world.state.digest).toBe(digest);
    expect(world.refuse(finishOf(task, 'CANCELLED'))).toBe('TASK_FINISHED');
    expect(world.refuse(finishOf({ ...task, key: '1/1/9/0' }))).toBe('UNKNOWN_TASK');
    expect(world.refuse(finishOf({ ...task, key: 'nonsense' }))).toBe('UNKNOWN_TASK');
  });

  it('ends a version only as what it was granted for', () => {
    const world = sealedWorld();
    const merge = world.grant({ window: 1, executorId: 1 });
    expect(world.refuse(finishOf(merge, 'DEAD'))).toBe('BAD_REQUEST');
    expect(world.refuse(finishOf(merge, 'SKIPPED'))).toBe('BAD_REQUEST');
    const retraction = world.grant({ window: 1, executorId: 1, version: 2, purpose: 'DEAD' });
    expect(world.refuse(finishOf(retraction, 'DONE'))).toBe('BAD_REQUEST');
    world.accept(finishOf(retraction, 'DEAD'));
  });
});

describe('the delay queue', () => {
  const parkOf = (key: string, version: number) =>
    ({ type: 'task.park', v: 1, key, version, delayMs: 500, reason: 'DB_BUSY' }) as const;

  it('keeps a parked task, its token, and when it is due', () => {
    const world = sealedWorld();
    const task = world.grant({ window: 1, executorId: 1 });
    expect(world.refuse(parkOf(task.key, 2))).toBe('STALE_VERSION');
    world.accept(parkOf(task.key, 1));
    expect(world.task(task.key)).toMatchObject({
      state: 'PARKED',
      token: task.token,
      attempts: 1,
      wakeAtMs: world.logTimeMs + 500,
      reason: 'DB_BUSY',
    });
    expect(world.state.openTasks.size).toBe(1);
    world.accept(finishOf(task));
    expect(world.windowState(1)).toBe('FINAL');
    expect(world.refuse(parkOf(task.key, 1))).toBe('TASK_FINISHED');
  });

  it('wakes all that are parked, or the named ones', () => {
    const world = sealedWorld();
    const tasks = [world.grant({ window: 1, executorId: 1 }), world.grant({ window: 2, executorId: 1 })];
    for (const task of tasks) world.accept(parkOf(task.key, 1));
    expect(world.accept({ type: 'task.wake', v: 1, keys: ['1/1/2/0', '1/1/9/0'] })).toEqual({
      woken: 1,
      more: false,
    });
    expect(world.task('1/1/2/0').wakeAtMs).toBe(world.logTimeMs);
    expect(world.task('1/1/1/0').wakeAtMs).toBe(world.logTimeMs + 500);
    expect(world.accept({ type: 'task.wake', v: 1, keys: [] })).toEqual({ woken: 1, more: false });
    expect(world.task('1/1/1/0').wakeAtMs).toBe(world.logTimeMs);
  });
});
