/** Every task that is there is listed, whatever windows are still kept. */
import { describe, expect, it } from 'vitest';
import { listTasks } from '../../src/coordinator/clients/list-tasks.ts';
import { windowKey, type TaskRecord } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import {
  finishOf,
  jobOf,
  prepared,
  runningWorld,
  type GrantInput,
  type World,
} from '../statemachine/support/world.ts';

const listed = (world: World, state = '', limit = 0): string[] =>
  listTasks(world.state, { state, limit }).map(
    (task) => `${task.report} ${task.firstWindow}-${task.lastWindow} ${task.state}`,
  );

/** Windows 1 to 8 are sealed and merged by sales; then a second report is declared, with its tables made. */
function addedLate(): World {
  const world = runningWorld(jobOf());
  for (let window = 1; window <= 8; window++) {
    world.seal();
    world.accept(finishOf(world.grant({ window, executorId: 1 })));
  }
  world.accept(jobOf({ shop: ['sales', 'more'] }));
  const { token } = world.accept({
    type: 'report.grant',
    v: 1,
    reportId: 2,
    generation: 1,
    executorId: 1,
  });
  const done = { errorCode: '', errorMessage: '', retryAfterMs: 0, copies: [] };
  world.accept({ type: 'report.finish', v: 1, reportId: 2, generation: 1, token: String(token), ...done });
  return world;
}

/** Leaves the records of the newest windows alone. */
function dropWindows(world: World, upTo: number, sourceId = 1): void {
  for (let window = 1; window <= upTo; window++) world.state.windows.delete(windowKey(sourceId, window));
  world.state.takeChanges();
}

/** The contribution of a granted task is removed, and the task ends as DEAD. */
function giveUp(world: World, input: Pick<GrantInput, 'window' | 'last' | 'report'>): void {
  const task = world.grant({ ...input, executorId: 1, version: 2, purpose: 'DEAD', failedAttempt: true });
  world.accept(finishOf(task, 'DEAD'));
}

function grantBase(world: World): TaskRecord {
  world.accept({ type: 'span.open', v: 1, reportId: 2, generation: 1, firstWindow: 1, lastWindow: 8 });
  return world.grant({ window: 1, last: 8, report: 2, executorId: 1 });
}

describe('tasks are listed', () => {
  rule('lists.tasksOfKeptWindows', 'also where the first window has no record any more', () => {
    const world = addedLate();
    grantBase(world);
    giveUp(world, { window: 1, last: 8, report: 2 });
    dropWindows(world, 5);
    expect(listed(world, 'DEAD')).toEqual(['more 1-8 DEAD']);
    expect(listed(world)).toContain('more 1-8 DEAD');
  });

  it('of a source that is far behind another', () => {
    const world = runningWorld(jobOf({ far: ['sales'], near: ['more'] }));
    const { token } = world.accept({ type: 'prepare.grant', v: 1, sourceId: 2, executorId: 1 });
    world.accept(prepared(2, String(token)));
    world.collect(1, 2);
    for (let window = 1; window <= 20; window++) world.seal();
    world.seal(2);
    dropWindows(world, 15);
    world.grant({ window: 1, report: 2, executorId: 1 });
    giveUp(world, { window: 1, report: 2 });
    expect(listed(world, 'DEAD')).toEqual(['more 1-1 DEAD']);
  });

  rule('lists.pendingByWindow', 'as pending, a first contribution as the one task that it is', () => {
    const world = addedLate();
    world.seal();
    expect(listed(world, 'pending')).toEqual(['sales 9-9 pending', 'more 9-9 pending', 'more 1-8 pending']);
    world.accept(finishOf(grantBase(world)));
    expect(listed(world, 'pending')).toEqual(['sales 9-9 pending', 'more 9-9 pending']);
  });

  it('as pending, the parts of a span that were never granted', () => {
    const world = runningWorld();
    for (let window = 1; window <= 4; window++) world.seal();
    world.accept(finishOf(world.grant({ window: 1, executorId: 1 })));
    world.accept({ type: 'span.open', v: 1, reportId: 1, generation: 1, firstWindow: 2, lastWindow: 3 });
    expect(listed(world, 'pending')).toEqual(['sales 4-4 pending', 'sales 2-3 pending']);
    const task = world.grant({ window: 2, last: 3, executorId: 1 });
    expect(listed(world)).toEqual(['sales 4-4 pending', 'sales 2-3 ASSIGNED', 'sales 1-1 DONE']);
    world.accept(finishOf(task));
    expect(listed(world, 'ASSIGNED')).toEqual([]);
    expect(listed(world, 'DONE')).toEqual(['sales 2-3 DONE', 'sales 1-1 DONE']);
  });

  it('newest windows first, as many as were asked for', () => {
    const world = addedLate();
    world.seal();
    const all = listed(world);
    expect(all.map((line) => line.split(' ')[1])).toEqual([
      ...['9-9', '9-9', '8-8', '7-7', '6-6', '5-5', '4-4', '3-3', '2-2', '1-8', '1-1'],
    ]);
    expect(listed(world, '', 4)).toEqual(all.slice(0, 4));
    expect(listed(world, 'DONE', 2)).toEqual(['sales 8-8 DONE', 'sales 7-7 DONE']);
  });
});
