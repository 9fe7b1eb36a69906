import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { isTooOld } from '../../src/statemachine/commands/windows.ts';
import { rule } from '../support/rule.ts';
import { finishOf, grantOf, jobOf, runningWorld, sealOf, type World } from './support/world.ts';

describe('sealing', () => {
  it('makes one pending task per part of each report that reads the source', () => {
    const job = jobOf({ shop: ['a', 'b'], other: ['c'] });
    const world = runningWorld({
      ...job,
      reports: job.reports.map((report) => (report.name === 'b' ? { ...report, parts: 3 } : report)),
    });
    expect(world.accept(sealOf(world.source(), 1))).toEqual({ window: 1, tasks: 4 });
    expect(world.window(1)).toMatchObject({ state: 'SEALED', tasksTotal: 4, tasksOpen: 4, tasksGranted: 0 });
    expect(world.source()).toMatchObject({ lastWindow: 1, position: 'p1' });
    expect(world.state.pendingWindows.size).toBe(1);
  });

  rule('state.sealWithoutChain', 'refuses a window that leaves a gap', () => {
    const world = runningWorld();
    world.seal();
    expect(world.refuse(sealOf(world.source(), 3))).toBe('WINDOW_GAP');
    expect(world.refuse(sealOf(world.source(), 2, { from: 'p0' }))).toBe('WINDOW_GAP');
    expect(world.refuse(sealOf(world.source(), 1, { from: '', to: 'other' }))).toBe('WINDOW_GAP');
  });

  rule('state.sealOfDeposedEpoch', 'refuses the seal of a collector whose epoch is not current', () => {
    const world = runningWorld();
    const deposed = world.source();
    world.seal();
    world.executor('two');
    world.collect(2);
    const { position } = world.source();
    const epoch = deposed.collector?.epoch ?? '';
    expect(world.refuse(sealOf(deposed, 2, { epoch, from: position }))).toBe('STALE_EPOCH');
    world.seal();
  });

  it('answers a repeated seal as at first, also to a collector that was deposed since', () => {
    const world = runningWorld();
    const seal = sealOf(world.source(), 1);
    const first = world.accept(seal);
    const { digest } = world.state;
    world.collect(1);
    expect(world.accept(seal)).toEqual(first);
    expect(world.source().lastWindow).toBe(1);
    expect(world.state.digest).not.toBe(digest);
  });

  it('refuses what is no window of this topology, or ends nowhere', () => {
    const world = runningWorld();
    expect(world.refuse(sealOf(world.source(), 1, { to: '' }))).toBe('BAD_REQUEST');
    expect(world.refuse(sealOf(world.source(), 1, { topologyVersion: 2 }))).toBe('BAD_REQUEST');
    expect(world.refuse({ ...sealOf(world.source(), 1), sourceId: 9 })).toBe('UNKNOWN_SOURCE');
  });

  it('is FINAL at once when no report reads the source', () => {
    const world = runningWorld(jobOf({ shop: [] }));
    world.seal();
    expect(world.window(1)?.state).toBe('FINAL');
    expect(world.source().mergedWindow).toBe(1);
  });
});

describe('the way of a window', () => {
  function twoReports(): World {
    const world = runningWorld(jobOf({ shop: ['a', 'b'] }));
    world.seal();
    world.seal();
    return world;
  }

  it('is FINAL when every task is done, in any order of windows', () => {
    const world = twoReports();
    for (const window of [2, 1]) {
      for (const report of [1, 2]) {
        expect(world.window(window)?.state).toBe('SEALED');
        world.accept(finishOf(world.grant({ window, report, executorId: 1 })));
      }
      expect(world.window(window)?.state).toBe('FINAL');
      expect(world.source().mergedWindow).toBe(window === 2 ? 0 : 2);
    }
    expect(world.window(1)).toMatchObject({ tasksOpen: 0, tasksGranted: 2, holes: [] });
    expect(world.state.pendingWindows.size).toBe(0);
    expect(world.state.openTasks.size).toBe(0);
  });

  it('is MERGED, not FINAL, with a task that is DEAD; the hole is counted', () => {
    const world = twoReports();
    world.accept(finishOf(world.grant({ window: 1, report: 1, executorId: 1 })));
    world.grant({ window: 1, report: 2, executorId: 1 });
    const retraction = world.grant({ window: 1, report: 2, executorId: 1, version: 2, purpose: 'DEAD' });
    expect(world.window(1)?.state).toBe('SEALED');
    world.accept(finishOf(retraction, 'DEAD'));
    expect(world.window(1)).toMatchObject({ state: 'MERGED', holes: [retraction.key] });
    expect([...world.state.reports.values()].map((report) => report.holes)).toEqual([0, 1]);
    expect(world.source()).toMatchObject({ mergedWindow: 1, windowsFinal: 0 });
  });

  it('is FINAL with a hole when the task was skipped', () => {
    const world = twoReports();
    world.accept(finishOf(world.grant({ window: 1, report: 1, executorId: 1 })));
    const skip = world.grant({ window: 1, report: 2, executorId: 1, purpose: 'SKIPPED' });
    world.accept(finishOf(skip, 'SKIPPED'));
    expect(world.window(1)).toMatchObject({ state: 'FINAL', holes: [skip.key] });
  });

  it('closes the hole of a dead task that is tried again and done', () => {
    const world = twoReports();
    world.accept(finishOf(world.grant({ window: 1, report: 1, executorId: 1 })));
    const dead = world.grant({ window: 1, report: 2, executorId: 1, purpose: 'DEAD' });
    world.accept(finishOf(dead, 'DEAD'));
    expect(world.accept({ type: 'task.wake', v: 1, keys: [dead.key] })).toEqual({ woken: 1, more: false });
    expect(world.window(1)).toMatchObject({ state: 'SEALED', tasksOpen: 1, holes: [dead.key] });
    expect(world.task(dead.key)).toMatchObject({ state: 'PARKED', purpose: 'merge', attempts: 0 });
    world.accept(finishOf(world.grant({ window: 1, report: 2, executorId: 1, version: 2 })));
    expect(world.window(1)).toMatchObject({ state: 'FINAL', tasksOpen: 0, holes: [] });
    expect([...world.state.reports.values()].map((report) => report.holes)).toEqual([0, 0]);
  });

  it('is dropped with its tasks, oldest first, once more than enough newer ones are FINAL', () => {
    const world = runningWorld();
    const last = LIMITS.windowsKeptMax + 20;
    world.seal();
    for (let window = 2; window <= last; window++) {
      world.seal();
      world.accept(finishOf(world.grant({ window, executorId: 1 })));
    }
    // Window 1 is open, so nothing behind it was dropped.
    expect(world.state.windows.size).toBe(last);
    world.accept(finishOf(world.grant({ window: 1, executorId: 1 })));
    expect(world.window(1)).toBeUndefined();
    for (let window = last + 1; window <= last + 30; window++) {
      world.seal();
      world.accept(finishOf(world.grant({ window, executorId: 1 })));
    }
    expect(world.state.windows.size).toBe(LIMITS.windowsKeptMax + 1);
    expect(world.state.tasks.size).toBe(LIMITS.windowsKeptMax + 1);
    expect(world.source()).toMatchObject({
      windowsFinal: LIMITS.windowsKeptMax + 1,
      mergedWindow: last + 30,
    });
    const gone = sealOf(world.source(), 1, { from: '', to: 'p1' });
    expect(world.refuse(gone)).toBe('WINDOW_GAP');
    expect(world.refuse(grantOf({ window: 1, executorId: 1 }))).toBe('UNKNOWN_TASK');
  });

  it('is dropped earlier when the tasks of all windows are too many, but never the last one', () => {
    const { tasksKeptMax, windowsKeptMax } = LIMITS;
    expect(isTooOld({ windowsFinal: 2, tasks: tasksKeptMax })).toBe(false);
    expect(isTooOld({ windowsFinal: 2, tasks: tasksKeptMax + 1 })).toBe(true);
    expect(isTooOld({ windowsFinal: 1, tasks: tasksKeptMax + 1 })).toBe(false);
    expect(isTooOld({ windowsFinal: windowsKeptMax + 1, tasks: 0 })).toBe(false);
    expect(isTooOld({ windowsFinal: windowsKeptMax + 2, tasks: 0 })).toBe(true);
  });
});
