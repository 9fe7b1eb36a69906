import { describe, expect, it } from 'vitest';
import { idKey, type Operation, type ReconcileSink } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { COPY, finishOf, grantOf, reconciled, runningWorld, spanOf, type World } from './support/world.ts';

const KEY = '1/1/1/0';

/** Window 1 is sealed, and its one task finished. */
function finishedWorld(): World {
  const world = runningWorld();
  world.seal();
  world.accept(spanOf({ window: 1 }));
  world.accept(finishOf(world.grant({ window: 1, executorId: 1 })));
  return world;
}

const fresh = (world: World): string =>
  world.accept({ type: 'sink.grant', v: 1, sinkId: 1, executorId: 1 })['epoch'] as string;

describe('a report database under a fresh epoch', () => {
  rule('sink.grantsBefore', 'has nothing granted for it before it is reconciled, collectors included', () => {
    const world = finishedWorld();
    world.seal();
    world.accept(spanOf({ window: 2 }));
    const epoch = fresh(world);
    const collector: Operation = { type: 'collector.grant', v: 1, sourceId: 1, executorId: 1 };
    expect(world.refuse(collector)).toBe('SINK_EPOCH');
    expect(world.refuse(grantOf({ window: 2, executorId: 1 }))).toBe('SINK_EPOCH');
    world.accept(reconciled(1, epoch));
    world.accept(collector);
    world.accept(grantOf({ window: 2, executorId: 1 }));
  });

  rule('sink.answerOfOldEpoch', 'counts no answer that was made under another one', () => {
    const world = runningWorld();
    world.seal();
    world.accept(spanOf({ window: 1 }));
    const task = world.grant({ window: 1, executorId: 1 });
    world.reconcile(1);
    expect(world.refuse(finishOf(task))).toBe('SINK_EPOCH');
  });

  it('has finished tasks done again that it lacks, whatever their window has become', () => {
    const world = finishedWorld();
    expect(world.source().mergedWindow).toBe(1);
    const old = world.task(KEY).token;
    world.reconcile(1, 1, [KEY, '9/9/9/9']);
    expect(world.task(KEY)).toMatchObject({ state: 'PARKED', purpose: 'merge', attempts: 0 });
    expect(world.source().mergedWindow).toBe(0);
    const again = world.grant({ window: 1, executorId: 1, version: 2 });
    expect(again.token).not.toBe(old);
    world.accept(finishOf(again));
    expect(world.source().mergedWindow).toBe(1);
  });

  it('has holes made again that it lacks', () => {
    const world = runningWorld();
    world.seal();
    world.accept(spanOf({ window: 1 }));
    world.grant({ window: 1, executorId: 1 });
    const skip = world.grant({ window: 1, executorId: 1, version: 2, purpose: 'SKIPPED' });
    world.accept(finishOf(skip, 'SKIPPED'));
    world.reconcile(1, 1, [KEY]);
    expect(world.task(KEY)).toMatchObject({ state: 'PARKED', purpose: 'SKIPPED' });
  });

  it('takes pieces of the current epoch only, and each of them any number of times', () => {
    const world = finishedWorld();
    const first = fresh(world);
    const second = fresh(world);
    expect(world.refuse(reconciled(1, first))).toBe('STALE_EPOCH');
    const piece = { ...reconciled(1, second, [KEY]), last: false } as ReconcileSink;
    for (let i = 0; i < 2; i++) world.accept(piece);
    expect(world.state.sinks.get(idKey(1))?.reconciled).toBe(false);
    for (let i = 0; i < 2; i++) world.accept(reconciled(1, second));
    expect(world.state.sinks.get(idKey(1))?.reconciled).toBe(true);
    expect(world.task(KEY).version).toBe(1);
  });

  it('shows why a try has failed until one does not', () => {
    const world = finishedWorld();
    const epoch = fresh(world);
    const why = { errorCode: 'SINK_AHEAD', errorMessage: 'term 9', retryAfterMs: 50 };
    world.accept({ type: 'sink.fail', v: 1, sinkId: 1, epoch, ...why });
    const retryAtMs = world.logTimeMs + 50;
    expect(world.state.sinks.get(idKey(1))).toMatchObject({ problem: 'SINK_AHEAD: term 9', retryAtMs });
    world.reconcile(1);
    expect(world.state.sinks.get(idKey(1))).toMatchObject({ problem: '', reconciled: true });
  });

  it('has tables made again that are not there', () => {
    const world = finishedWorld();
    const operation = reconciled(1, fresh(world), [KEY]) as ReconcileSink;
    world.accept({ ...operation, missing: [{ reportId: 1, generation: 1 }] });
    expect(world.report()).toMatchObject({ generation: 1, phase: 'new', change: null });
    // Those of other reports, and of its source, are there.
    expect(world.source().prepare?.done).toBe(true);
  });

  rule('state.copiesOfEachPrepare', 'goes on with the dimension copies that its tasks have read', () => {
    const world = finishedWorld();
    const { copies, prepared: named } = world.report();
    expect(named).toBe(world.source().prepare?.token);
    expect(copies).toEqual([COPY]);
    const operation = reconciled(1, fresh(world), [KEY]) as ReconcileSink;
    world.accept({ ...operation, missing: [{ reportId: 1, generation: 1 }] });
    const report = { v: 1, reportId: 1, generation: 1 } as const;
    const { token } = world.accept({ type: 'report.grant', ...report, executorId: 1 }) as { token: string };
    const others = [
      { reportId: 1, generation: 1, copies: [{ ...COPY, checksum: 'f'.repeat(16) }], lost: false },
    ];
    const ended = { token, copies: others, errorCode: '', errorMessage: '', retryAfterMs: 0 };
    world.accept({ type: 'report.finish', ...report, ...ended });
    expect(world.report()).toMatchObject({ generation: 1, phase: 'live', prepared: named, copies });
  });

  rule('sink.foldKeptWhereMissing', 'has tables made again with nothing folded in them', () => {
    const world = finishedWorld();
    const grant = { type: 'fold.grant', v: 1, reportId: 1, generation: 1, window: 1, executorId: 1 } as const;
    const { token } = world.accept(grant) as { token: string };
    const told = { token, errorCode: '', errorMessage: '', retryAfterMs: 0 };
    world.accept({ ...told, type: 'fold.finish', v: 1, reportId: 1, generation: 1, window: 1 });
    expect(world.report().folded.window).toBe(1);
    const operation = reconciled(1, fresh(world), [KEY]) as ReconcileSink;
    world.accept({ ...operation, missing: [{ reportId: 1, generation: 1 }] });
    expect(world.report()).toMatchObject({ generation: 1, folded: { window: 0, seal: '' }, fold: null });
  });

  rule('sink.stoppedGoesOn', 'does not set a report going that was stopped', () => {
    const world = finishedWorld();
    const stopped = { window: 2, problem: 'COLUMN_LOST: amount' };
    world.state.reports.put(idKey(1), { ...world.report(), stopped });
    const operation = reconciled(1, fresh(world)) as ReconcileSink;
    world.accept({ ...operation, folds: [{ reportId: 1, generation: 1, window: 1, seal: '77' }] });
    expect(world.report()).toMatchObject({ generation: 2, stopped: { ...stopped, window: 1 } });
    expect(world.refuse(spanOf({ window: 1, generation: 2 }))).toBe('SPAN_REFUSED');
  });

  rule(
    'sink.foldOfAnyChain',
    'has a report built anew whose folded windows this cluster cut otherwise',
    () => {
      const seal = (world: World): string => world.window(1)?.epoch ?? '';
      const foldedAt = (window: number, of: (world: World) => string): number | undefined => {
        const world = finishedWorld();
        const operation = reconciled(1, fresh(world)) as ReconcileSink;
        const fold = { reportId: 1, generation: 1, window, seal: of(world) };
        world.accept({ ...operation, folds: [fold] });
        return world.state.reports.get(idKey(1))?.generation;
      };
      expect(foldedAt(1, seal)).toBe(1);
      expect(foldedAt(1, () => '77')).toBe(2);
      expect(foldedAt(2, seal)).toBe(2);
    },
  );

  it('gives a restored cluster generations that its former self cannot have made', () => {
    const world = finishedWorld();
    world.accept({ type: 'cluster.restore', v: 1, formerId: 'former' });
    world.term += 4_096;
    const operation = reconciled(1, fresh(world)) as ReconcileSink;
    world.accept({ ...operation, folds: [{ reportId: 1, generation: 1, window: 1, seal: '77' }] });
    const report = world.state.reports.get(idKey(1));
    expect(report?.generation).toBeGreaterThan(2 ** 20);
    expect(report).toMatchObject({ nextWindow: 1, mergedWindow: 0 });
    expect([...world.state.tasks.values()]).toEqual([]);
  });
});
