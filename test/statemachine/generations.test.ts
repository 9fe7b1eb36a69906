/** Reports that are added, redefined, paused and removed on a source with sealed windows. */
import { describe, expect, it } from 'vitest';
import {
  idKey,
  type DeclareJob,
  type DeclaredItem,
  type ReportRecord,
} from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { finishOf, jobOf, reconciled, runningWorld, type World } from './support/world.ts';

function declare(world: World, job: DeclareJob): DeclaredItem[] {
  const { items } = world.accept(job);
  return (JSON.parse(String(items)) as DeclaredItem[]).filter(({ kind }) => kind === 'report');
}

function changed(job: DeclareJob, change: Partial<DeclareJob['reports'][number]>): DeclareJob {
  return { ...job, reports: job.reports.map((report) => ({ ...report, ...change })) };
}

function step(world: World, report: ReportRecord, errorCode = ''): void {
  const { id: reportId, generation } = report;
  const { token } = world.accept({ type: 'report.grant', v: 1, reportId, generation, executorId: 1 });
  world.accept(ended(report, token as string, errorCode));
}

function ended({ id: reportId, generation }: ReportRecord, token: string, errorCode = '') {
  const failure = { errorCode, errorMessage: 'why', retryAfterMs: errorCode === '' ? 0 : 5_000 };
  return { type: 'report.finish', v: 1, reportId, generation, token, copies: [], ...failure } as const;
}

/** Windows 1 to 3 are merged by sales. */
function sealedWorld(): World {
  const world = runningWorld(jobOf());
  for (let window = 1; window <= 3; window++) {
    world.seal();
    world.accept(finishOf(world.grant({ window, executorId: 1 })));
  }
  return world;
}

/** The span of a generation's base, which is computed from the row states, is merged. */
function mergeBase(world: World, report: ReportRecord): void {
  const { id: reportId, generation, baseWindow: lastWindow } = report;
  world.accept({ type: 'span.open', v: 1, reportId, generation, firstWindow: 1, lastWindow });
  const { key } = world.accept({
    type: 'task.grant',
    v: 1,
    reportId,
    generation,
    firstWindow: 1,
    lastWindow,
    part: 0,
    version: 1,
    executorId: 1,
    purpose: 'merge',
    reason: '',
    failedAttempt: false,
  });
  world.accept(finishOf(world.task(key as string)));
}

describe('a report that is added behind sealed windows', () => {
  it('begins from row states, which are kept from then on, and holds what they need', () => {
    const world = sealedWorld();
    expect(declare(world, jobOf({ shop: ['sales', 'more'] }))).toMatchObject([
      { name: 'sales', id: 1, generation: 1, action: 'unchanged' },
      { name: 'more', id: 2, generation: 1, action: 'created' },
    ]);
    expect(world.report(2)).toMatchObject({ phase: 'new', baseWindow: 3, prepared: '', replaces: 0 });
    expect(world.source().states).toMatchObject([{ shard: 's1', window: 0 }]);
    const { collector, prepare } = world.source();
    expect([collector, prepare?.done]).toEqual([expect.anything(), true]);
    step(world, world.report(2));
    const { prepared } = world.report(2);
    expect(world.report(2)).toMatchObject({ phase: 'live', change: null });
    expect(prepared).not.toBe('');
    for (let more = 0; more < 8; more++) world.seal();
    expect(world.source().horizon).toBe(0);
    mergeBase(world, world.report(2));
    expect(world.report(2)).toMatchObject({ mergedWindow: 3, nextWindow: 4 });
  });

  it('is refused where neither row states nor all windows are kept', () => {
    const world = sealedWorld();
    world.state.sources.put(idKey(1), { ...world.source(), horizon: 1 });
    world.state.takeChanges();
    expect(world.refuse(jobOf({ shop: ['sales', 'more'] }))).toBe('REPORT_ON_SEALED_SOURCE');
    // What is there already may go, all the same.
    expect(declare(world, jobOf({ shop: [] }))).toMatchObject([{ name: 'sales', action: 'removed' }]);
  });

  it('a step that failed is due again later; older answers count for nothing', () => {
    const world = sealedWorld();
    declare(world, jobOf({ shop: ['sales', 'more'] }));
    step(world, world.report(2), 'DB_BUSY');
    expect(world.report(2)).toMatchObject({ phase: 'new', change: null, changeProblem: 'DB_BUSY: why' });
    expect(world.report(2).changeRetryAtMs).toBe(world.logTimeMs + 5_000);
    const grant = { type: 'report.grant', v: 1, reportId: 2, generation: 1, executorId: 1 } as const;
    const older = world.accept(grant)['token'] as string;
    const token = world.accept(grant)['token'] as string;
    expect(world.refuse(ended(world.report(2), older))).toBe('STALE_EPOCH');
    const { epoch } = world.accept({ type: 'sink.grant', v: 1, sinkId: 1, executorId: 1 });
    expect(world.refuse(grant)).toBe('SINK_EPOCH');
    world.accept(reconciled(1, epoch as string));
    expect(world.refuse(ended(world.report(2), token))).toBe('SINK_EPOCH');
    step(world, world.report(2));
    expect(world.report(2).phase).toBe('live');
    expect(world.refuse(grant)).toBe('TASK_FINISHED');
  });
});

describe('a report that is redefined', () => {
  const again = changed(jobOf(), { specHash: 'h2' });

  rule('state.shownBeforeCaughtUp', 'is shown when it has caught up, and the former one goes then', () => {
    const world = sealedWorld();
    expect(declare(world, again)).toMatchObject([{ id: 2, generation: 2, action: 'changed' }]);
    expect(world.report(1)).toMatchObject({ phase: 'live', generation: 1 });
    step(world, world.report(2));
    expect(world.report(2)).toMatchObject({ phase: 'building', replaces: 1 });
    const show = { type: 'report.grant', v: 1, reportId: 2, generation: 2, executorId: 1 } as const;
    expect(world.refuse(show)).toBe('BAD_REQUEST');
    mergeBase(world, world.report(2));
    step(world, world.report(2));
    expect(world.report(2)).toMatchObject({ phase: 'live', replaces: 0 });
    expect(world.report(1)).toMatchObject({ phase: 'retired' });
    expect([...world.state.tasks.values()].map(({ reportId }) => reportId)).toEqual([2]);
    step(world, world.report(1));
    expect(world.state.reports.get(idKey(1))).toBeUndefined();
    expect(declare(world, again)).toMatchObject([{ id: 2, generation: 2, action: 'unchanged' }]);
  });

  it('is not shown with a hole', () => {
    const world = sealedWorld();
    declare(world, again);
    step(world, world.report(2));
    mergeBase(world, world.report(2));
    world.state.reports.put(idKey(2), { ...world.report(2), holes: 1 });
    world.state.takeChanges();
    const show = { type: 'report.grant', v: 1, reportId: 2, generation: 2, executorId: 1 } as const;
    expect(world.refuse(show)).toBe('BAD_REQUEST');
  });

  it('twice: what was never shown goes at once, and the second one replaces what is shown', () => {
    const world = sealedWorld();
    declare(world, again);
    step(world, world.report(2));
    declare(world, changed(jobOf(), { specHash: 'h3' }));
    expect(world.report(1).phase).toBe('live');
    expect(world.report(2).phase).toBe('retired');
    expect(world.report(3)).toMatchObject({ phase: 'new', generation: 3, replaces: 1 });
  });

  it('and removed while it is built: both go', () => {
    const world = sealedWorld();
    declare(world, again);
    declare(world, jobOf({ shop: [] }));
    for (const id of [1, 2]) {
      expect(world.report(id).phase).toBe('retired');
      step(world, world.report(id));
    }
    expect(world.state.reports.size).toBe(0);
    for (let more = 0; more < 8; more++) world.seal();
    // Row states are made up to nowhere here; else nobody holds anything back.
    expect(world.source().mergedWindow).toBe(world.source().lastWindow);
  });
});

it('a pause is no new generation', () => {
  const world = sealedWorld();
  const paused = changed(jobOf(), { paused: true });
  expect(declare(world, paused)).toMatchObject([{ id: 1, generation: 1, action: 'changed' }]);
  expect(world.report()).toMatchObject({ paused: true, phase: 'live', generation: 1 });
  expect(declare(world, paused)).toMatchObject([{ id: 1, action: 'unchanged' }]);
  declare(world, jobOf());
  expect(world.report().paused).toBe(false);
});
