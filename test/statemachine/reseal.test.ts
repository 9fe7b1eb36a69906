import { describe, expect, it } from 'vitest';
import type { LoseWindows, ResealWindow } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { finishOf, jobOf, sealOf, World } from './support/world.ts';

const lose = (firstWindow: number, lastWindow = firstWindow): LoseWindows => ({
  type: 'window.lost',
  v: 1,
  sourceId: 1,
  firstWindow,
  lastWindow,
});

/** Three sealed windows, a collector, and a task of window 3 that is parked because its rows are missing. */
function made(): { world: World; executorId: number } {
  const world = new World();
  world.accept(jobOf());
  const executorId = world.executor('e1');
  world.collect(executorId);
  for (let window = 1; window <= 3; window += 1) world.seal();
  const task = world.grant({ window: 3, executorId });
  const { key, version } = task;
  world.accept({ type: 'task.park', v: 1, key, version, delayMs: 60_000, reason: 'WINDOW_INCOMPLETE' });
  return { world, executorId };
}

/** What a collector of the current epoch says after it has captured a window again. */
function again(world: World, window: number, more: Partial<ResealWindow> = {}): ResealWindow {
  const { coversMs: _, ...slice } = sealOf(world.source(), window);
  const { from = '', to = '' } = world.window(window) ?? {};
  const day = '2026-11-23';
  return { ...slice, type: 'window.reseal', from, to, day, errorCode: '', errorMessage: '', ...more };
}

describe('a lost window', () => {
  it('is captured again by the next collector, and what waits for it is due', () => {
    const { world, executorId } = made();
    const former = world.source().collector?.epoch ?? '';
    expect(world.accept(lose(2, 3))).toEqual({ lost: 2, stopped: true });
    expect(world.source()).toMatchObject({ collector: null, lost: [{ window: 2 }, { window: 3 }] });
    const { epoch } = world.accept({ type: 'collector.grant', v: 1, sourceId: 1, executorId });
    expect(world.refuse(sealOf(world.source(), 4, { epoch: former }))).toBe('STALE_EPOCH');
    const before = world.window(3);
    world.accept(again(world, 3));
    expect(world.window(3)).toEqual({ ...before, epoch, day: '2026-11-23' });
    expect(world.task('1/1/3/0').wakeAtMs).toBe(world.logTimeMs);
    expect(world.source().lost).toEqual([{ window: 2, problem: '' }]);
    expect(world.accept(again(world, 3))).toEqual({ window: 3 });
    // The chain goes on from where it was.
    expect(world.seal()).toBe(4);
  });

  it('is noted once: a collector at work on it is not stopped for it', () => {
    const { world, executorId } = made();
    world.accept(lose(3));
    const { epoch } = world.accept({ type: 'collector.grant', v: 1, sourceId: 1, executorId });
    expect(world.accept(lose(3))).toEqual({ lost: 0, stopped: false });
    expect(world.source().collector?.epoch).toBe(epoch);
  });

  it('is forgotten when nobody reads it any more', () => {
    const { world, executorId } = made();
    for (let i = 0; i < 4; i++) world.seal();
    world.accept(lose(1));
    for (let window = 1; window <= 5; window++) {
      const version = window === 3 ? 2 : 1;
      world.accept(finishOf(world.grant({ window, executorId, version })));
    }
    for (const window of [2, 4]) {
      expect(world.source().lost).toMatchObject([{ window: 1 }]);
      const fold = { reportId: 1, generation: 1, window } as const;
      const { token } = world.accept({ type: 'fold.grant', v: 1, ...fold, executorId });
      const ended = { token: String(token), errorCode: '', errorMessage: '', retryAfterMs: 0 };
      world.accept({ type: 'fold.finish', v: 1, ...fold, ...ended });
    }
    expect(world.source()).toMatchObject({ horizon: 2, lost: [] });
  });

  it('that no log shows again stays lost, with a code, and the source goes on', () => {
    const { world, executorId } = made();
    world.accept(lose(1));
    expect(world.source().problem).toMatch(/^WINDOW_LOST: window 1/);
    expect(world.source().collector).not.toBeNull();
    world.accept(lose(3));
    world.accept({ type: 'collector.grant', v: 1, sourceId: 1, executorId });
    world.accept(again(world, 3, { errorCode: 'BINLOG_PURGED', errorMessage: 'gone' }));
    const problem = 'BINLOG_PURGED: window 3: gone';
    expect(world.source().lost).toContainEqual({ window: 3, problem });
    expect(world.source().problem).toBe(problem);
    expect(world.seal()).toBe(4);
  });

  rule('state.chunksCapturedAgain', 'that was sealed during the snapshot is not captured again', () => {
    const world = new World();
    world.accept(jobOf());
    world.collect(world.executor('e1'));
    for (const cursor of ['{"table":"orders"}', '{"table":"orders","more":1}', '', '']) {
      world.accept(sealOf(world.source(), world.source().lastWindow + 1, { cursor }));
    }
    world.accept(lose(1, 4));
    const problems = world.source().lost.map(({ problem }) => problem.slice(0, 11));
    // The third window is the one that the snapshot ended in.
    expect(problems).toEqual(['WINDOW_LOST', 'WINDOW_LOST', 'WINDOW_LOST', '']);
  });

  rule('state.resealOfDeposedEpoch', 'is captured again by the current collector alone', () => {
    const { world, executorId } = made();
    world.accept(lose(3));
    world.accept({ type: 'collector.grant', v: 1, sourceId: 1, executorId });
    const late = again(world, 3);
    world.accept({ type: 'collector.grant', v: 1, sourceId: 1, executorId });
    expect(world.refuse(late)).toBe('STALE_EPOCH');
  });

  rule('state.resealWithOtherRows', 'is captured again with the rows that it was sealed with', () => {
    const { world, executorId } = made();
    world.accept(lose(3));
    world.accept({ type: 'collector.grant', v: 1, sourceId: 1, executorId });
    const one = again(world, 3);
    const shards = one.shards.map((shard) => ({ ...shard, rows: shard.rows + 1 }));
    expect(world.refuse({ ...one, shards })).toBe('WINDOW_LOST');
    expect(world.refuse({ ...one, to: 'elsewhere' })).toBe('WINDOW_LOST');
    expect(world.refuse(again(world, 9))).toBe('WINDOW_GAP');
  });
});
