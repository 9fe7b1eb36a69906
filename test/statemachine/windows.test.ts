import { describe, expect, it } from 'vitest';
import { rule } from '../support/rule.ts';
import { finishOf, jobOf, runningWorld, sealOf, type World } from './support/world.ts';

describe('sealing', () => {
  it('takes the source on to where the window ends', () => {
    const world = runningWorld();
    expect(world.accept(sealOf(world.source(), 1))).toEqual({ window: 1 });
    expect(world.windowState(1)).toBe('SEALED');
    expect(world.source()).toMatchObject({ lastWindow: 1, position: 'p1', mergedWindow: 0 });
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
    expect(world.windowState(1)).toBe('FINAL');
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
        expect(world.windowState(window)).toBe('SEALED');
        world.accept(finishOf(world.grant({ window, report, executorId: 1 })));
      }
      // A window is shown as merged when those before it are.
      expect(world.windowState(window)).toBe(window === 2 ? 'SEALED' : 'FINAL');
      expect(world.source().mergedWindow).toBe(window === 2 ? 0 : 2);
    }
    expect(world.state.openTasks.size).toBe(0);
    expect(world.state.openSpans.size).toBe(0);
  });

  it('is MERGED, not FINAL, with a task that is DEAD; the hole is counted', () => {
    const world = twoReports();
    world.accept(finishOf(world.grant({ window: 1, report: 1, executorId: 1 })));
    world.grant({ window: 1, report: 2, executorId: 1 });
    const retraction = world.grant({ window: 1, report: 2, executorId: 1, version: 2, purpose: 'DEAD' });
    expect(world.windowState(1)).toBe('SEALED');
    world.accept(finishOf(retraction, 'DEAD'));
    expect(world.windowState(1)).toBe('MERGED');
    expect([...world.state.holeTasks.values()].map(({ key }) => key)).toEqual([retraction.key]);
    expect([...world.state.reports.values()].map((report) => report.holes)).toEqual([0, 1]);
    expect(world.source().mergedWindow).toBe(1);
    expect(world.report(2)).toMatchObject({ mergedWindow: 1, finalWindow: 0 });
  });

  it('is FINAL with a hole when the task was skipped', () => {
    const world = twoReports();
    world.accept(finishOf(world.grant({ window: 1, report: 1, executorId: 1 })));
    const skip = world.grant({ window: 1, report: 2, executorId: 1, purpose: 'SKIPPED' });
    world.accept(finishOf(skip, 'SKIPPED'));
    expect(world.windowState(1)).toBe('FINAL');
    expect(world.task(skip.key).hole).toBe(true);
  });

  it('closes the hole of a dead task that is tried again and done', () => {
    const world = twoReports();
    world.accept(finishOf(world.grant({ window: 1, report: 1, executorId: 1 })));
    const dead = world.grant({ window: 1, report: 2, executorId: 1, purpose: 'DEAD' });
    world.accept(finishOf(dead, 'DEAD'));
    expect(world.accept({ type: 'task.wake', v: 1, keys: [dead.key] })).toEqual({ woken: 1, more: false });
    expect(world.windowState(1)).toBe('SEALED');
    expect(world.task(dead.key)).toMatchObject({
      state: 'PARKED',
      purpose: 'merge',
      attempts: 0,
      hole: true,
    });
    world.accept(finishOf(world.grant({ window: 1, report: 2, executorId: 1, version: 2 })));
    expect(world.windowState(1)).toBe('FINAL');
    expect([...world.state.reports.values()].map((report) => report.holes)).toEqual([0, 0]);
  });
});
