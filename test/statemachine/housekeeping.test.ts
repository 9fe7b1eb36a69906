import { describe, expect, it } from 'vitest';
import { idKey, type Operation } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { finishOf, jobOf, runningWorld, spanOf, type World } from './support/world.ts';

const grantFold = (window: number, report = 1): Operation => ({
  type: 'fold.grant',
  v: 1,
  reportId: report,
  generation: 1,
  window,
  executorId: 1,
});

const finishFold = (token: string, window: number, report = 1, errorCode = ''): Operation => ({
  type: 'fold.finish',
  v: 1,
  reportId: report,
  generation: 1,
  token,
  window,
  errorCode,
  errorMessage: '',
  retryAfterMs: errorCode === '' ? 0 : 500,
});

const grantDrop: Operation = { type: 'drop.grant', v: 1, sourceId: 1, executorId: 1 };

const finishDrop = (token: string, errorCode = ''): Operation => ({
  type: 'drop.finish',
  v: 1,
  sourceId: 1,
  token,
  errorCode,
  errorMessage: '',
  retryAfterMs: errorCode === '' ? 0 : 500,
});

function finalWorld(windows: number, reports = ['a']): World {
  const world = runningWorld(jobOf({ shop: reports }));
  for (let window = 1; window <= windows; window++) {
    world.seal();
    for (const [at] of reports.entries()) {
      world.accept(finishOf(world.grant({ window, report: at + 1, executorId: 1 })));
    }
  }
  return world;
}

function fold(world: World, window: number, report = 1): void {
  const token = world.accept(grantFold(window, report))['token'] as string;
  world.accept(finishFold(token, window, report));
}

describe('folding', () => {
  it('keeps what one fold has taken in until the next one is done', () => {
    const world = finalWorld(6);
    fold(world, 2);
    expect(world.report()).toMatchObject({ folded: { window: 2 }, droppedWindow: 0, fold: null });
    expect(world.report().folded.seal).toBe(world.window(2)?.epoch);
    expect(world.state.spans.size).toBe(6);
    fold(world, 4);
    expect(world.report()).toMatchObject({ folded: { window: 4 }, droppedWindow: 2 });
    expect(world.state.spans.size).toBe(4);
    expect(world.state.tasks.size).toBe(4);
    expect(world.source().horizon).toBe(2);
    expect(world.window(2)).toBeUndefined();
    expect(world.window(3)).toBeDefined();
  });

  rule('state.foldBeforeFinal', 'is granted for FINAL windows only', () => {
    const world = finalWorld(2);
    world.seal();
    const dead = world.grant({ window: 3, executorId: 1, purpose: 'DEAD' });
    world.accept(finishOf(dead, 'DEAD'));
    expect(world.report()).toMatchObject({ mergedWindow: 3, finalWindow: 2 });
    expect(world.refuse(grantFold(3))).toBe('SPAN_REFUSED');
    world.accept(grantFold(2));
  });

  it('counts under its newest token only, and not after a failure', () => {
    const world = finalWorld(4);
    const old = world.accept(grantFold(2))['token'] as string;
    const token = world.accept(grantFold(3))['token'] as string;
    expect(world.report().fold).toMatchObject({ token, window: 3, superseded: [old] });
    expect(world.refuse(finishFold(old, 2))).toBe('STALE_EPOCH');
    world.accept(finishFold(token, 0, 1, 'DB_FAILED'));
    const foldRetryAtMs = world.logTimeMs + 500;
    expect(world.report()).toMatchObject({ fold: null, foldRetryAtMs, folded: { window: 0 } });
    expect(world.refuse({ ...grantFold(2), generation: 2 } as Operation)).toBe('UNKNOWN_REPORT');
    expect(world.refuse({ ...grantFold(2), executorId: 9 } as Operation)).toBe('UNKNOWN_EXECUTOR');
  });

  rule('state.idleFoldAgainAtOnce', 'waits after a fold that found nothing to do', () => {
    const world = finalWorld(4);
    const token = world.accept(grantFold(2))['token'] as string;
    world.accept({ ...finishFold(token, 0), retryAfterMs: 500 } as Operation);
    expect(world.report()).toMatchObject({ fold: null, foldRetryAtMs: world.logTimeMs + 500 });
    fold(world, 2);
    expect(world.report()).toMatchObject({ folded: { window: 2 }, foldRetryAtMs: 0 });
  });

  it('takes the horizon to the least of all reports', () => {
    const world = finalWorld(6, ['a', 'b']);
    for (const window of [2, 4]) fold(world, window, 1);
    expect(world.source().horizon).toBe(0);
    for (const window of [3, 5]) fold(world, window, 2);
    expect(world.source().horizon).toBe(2);
  });

  it('remembers how many holes it took in', () => {
    const world = finalWorld(1);
    world.seal();
    world.accept(finishOf(world.grant({ window: 2, executorId: 1, purpose: 'SKIPPED' }), 'SKIPPED'));
    for (let window = 3; window <= 5; window++) {
      world.seal();
      world.accept(finishOf(world.grant({ window, executorId: 1 })));
    }
    fold(world, 3);
    fold(world, 4);
    expect(world.report()).toMatchObject({ holes: 1, droppedWindow: 3 });
    expect(world.state.holeTasks.size).toBe(0);
  });
});

describe('history', () => {
  rule('state.dropAboveHorizon', 'is dropped up to the horizon that is committed', () => {
    const world = finalWorld(6);
    for (const window of [2, 4]) fold(world, window);
    const token = world.accept(grantDrop)['token'] as string;
    expect(world.source().drop).toMatchObject({ token, window: 2 });
    world.accept(finishDrop(token));
    expect(world.source()).toMatchObject({ drop: null, droppedWindow: 2 });
    expect(world.refuse(finishDrop(token))).toBe('STALE_EPOCH');
  });

  it('that was not dropped is dropped later', () => {
    const world = finalWorld(6);
    for (const window of [2, 4]) fold(world, window);
    world.accept(finishDrop(world.accept(grantDrop)['token'] as string, 'DB_UNREACHABLE'));
    expect(world.source()).toMatchObject({ droppedWindow: 0, dropRetryAtMs: world.logTimeMs + 500 });
  });

  it('is gone for a report that begins below it: it has to be built anew', () => {
    const world = finalWorld(6);
    for (const window of [2, 4]) fold(world, window);
    // As after a restore from a backup that is older than what the store still has.
    world.state.reports.put(idKey(1), { ...world.report(), nextWindow: 2 });
    world.state.takeChanges();
    expect(world.refuse(spanOf({ window: 2 }))).toBe('HISTORY_DROPPED');
  });
});
