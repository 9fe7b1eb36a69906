/** What a leader tells executors of a report database. */
import { describe, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import { knownTasks, probeWork } from '../../src/coordinator/executors/sink-work.ts';
import { idKey } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { finishOf, jobOf, runningWorld, type World } from '../statemachine/support/world.ts';

/** Reports with so many windows each whose tasks are done, and so many behind them whose are not. */
function worldOf(windows: { readonly done: number; readonly open: number }, reports: string[]): World {
  const world = runningWorld(jobOf({ shop: reports }));
  for (let window = 1; window <= windows.done + windows.open; window += 1) {
    world.seal();
    for (const report of [...world.state.reports.values()]) {
      const task = world.grant({ window, executorId: 1, report: report.id });
      if (window <= windows.done) world.accept(finishOf(task));
    }
  }
  return world;
}

/** By report, the windows of the tasks that a probe looks for. */
function probed(world: World): Map<number, number[]> {
  const context = { view: world.state, leaderTerm: 1, clusterId: 'c'.repeat(32), taskTimeMs: () => 1_000 };
  const work = must(probeWork(context, must(world.state.sinks.get(idKey(1)), 'sink')), 'work');
  const found = new Map<number, number[]>();
  for (const { reportId, firstWindow } of work.message.tasks) {
    found.set(Number(reportId), [...(found.get(Number(reportId)) ?? []), Number(firstWindow)]);
  }
  return found;
}

describe('a probe of a report database', () => {
  rule('coordinator.oldLossNotProbed', 'looks for old tasks of each report, however many are open', () => {
    const reports = Array.from({ length: 70 }, (_, at) => `r${at}`);
    const found = probed(worldOf({ done: 40, open: 20 }, reports));
    expect(found.size).toBe(70);
    for (const windows of found.values()) {
      expect(windows).toEqual(expect.arrayContaining([40, 39, 38, 36, 32, 24, 8]));
      expect(Math.max(...windows)).toBe(40);
    }
  });

  rule('coordinator.newestLossNotProbed', 'looks for all of the newest that are merged', () => {
    const world = worldOf({ done: 100, open: 20 }, ['sales']);
    const newest = Array.from({ length: 64 }, (_, at) => 100 - at);
    expect(probed(world).get(1)).toEqual(expect.arrayContaining(newest));
  });

  it('meets each window that was lost while others go by', () => {
    const world = worldOf({ done: 30, open: 0 }, ['sales']);
    const met = new Set<number>();
    for (let more = 0; more < 40; more += 1) {
      for (const window of probed(world).get(1) ?? []) met.add(window);
      const window = world.seal();
      world.accept(finishOf(world.grant({ window, executorId: 1 })));
    }
    for (let window = 25; window <= 69; window += 1) expect(met).toContain(window);
  });
});

it('is told the known tasks in pieces of whole windows', () => {
  const reports = Array.from({ length: 50 }, (_, at) => `r${at}`);
  const world = worldOf({ done: 60, open: 0 }, reports);
  const first = knownTasks(world.state, 1, 0);
  expect([first.tasks.length, first.next]).toEqual([2_000, 41]);
  const second = knownTasks(world.state, 1, first.next);
  expect([second.tasks.length, second.next]).toEqual([1_000, 0]);
  expect(knownTasks(world.state, 2, 0)).toEqual({ tasks: [], next: 0 });
});
