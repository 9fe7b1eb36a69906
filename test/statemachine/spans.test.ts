import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { rule } from '../support/rule.ts';
import { finishOf, grantOf, jobOf, runningWorld, sealOf, spanOf, type World } from './support/world.ts';

function sealedWorld(windows: number): World {
  const world = runningWorld(jobOf({ shop: ['a', 'b'] }));
  for (let i = 0; i < windows; i++) world.seal();
  return world;
}

describe('opening a span', () => {
  rule('state.spanOverGranted', 'takes only windows behind all that the report was granted', () => {
    const world = sealedWorld(6);
    world.openTo(1);
    world.accept(spanOf({ window: 2, last: 4 }));
    expect(world.report()).toMatchObject({ nextWindow: 5 });
    expect(world.refuse(spanOf({ window: 3, last: 6 }))).toBe('SPAN_REFUSED');
    expect(world.refuse(spanOf({ window: 2, last: 6 }))).toBe('SPAN_REFUSED');
    expect(world.refuse(spanOf({ window: 6 }))).toBe('SPAN_REFUSED');
    world.accept(spanOf({ window: 5, last: 6 }));
    // Each report has spans of its own.
    expect(world.report(2).nextWindow).toBe(1);
  });

  it('answers a repetition as at first', () => {
    const world = sealedWorld(4);
    world.openTo(1);
    world.accept(spanOf({ window: 2, last: 3 }));
    const { digest } = world.state;
    world.accept(spanOf({ window: 2, last: 3 }));
    expect(world.state.digest).toBe(digest);
  });

  rule('state.spanOfUnlikeWindows', 'never crosses a change of schema or topology, or the snapshot', () => {
    const world = sealedWorld(2);
    expect(world.refuse(spanOf({ window: 1, last: 2 }))).toBe('SPAN_REFUSED');
    world.accept(sealOf(world.source(), 3, { schemaVersions: [{ table: 'orders', version: 2 }] }));
    world.openTo(1);
    expect(world.refuse(spanOf({ window: 2, last: 3 }))).toBe('SPAN_REFUSED');
    world.accept(spanOf({ window: 2 }));
    const { topology } = world.state;
    if (topology === undefined) throw new Error('no topology');
    world.state.setTopology({ ...topology, version: 2 });
    world.accept(sealOf(world.source(), 4, { ...alike(2), topologyVersion: 2 }));
    expect(world.refuse(spanOf({ window: 3, last: 4 }))).toBe('SPAN_REFUSED');
  });

  rule('state.spanOverCopies', 'leaves each window alone in which a table is copied', () => {
    const world = runningWorld(jobOf());
    const cursors = ['t/1', 't/2', 't/3', '', '', ''];
    for (const [at, cursor] of cursors.entries()) world.accept(sealOf(world.source(), at + 1, { cursor }));
    world.openTo(1);
    expect(world.refuse(spanOf({ window: 2, last: 3 }))).toBe('SPAN_REFUSED');
    world.openTo(3);
    // The fourth holds the last rows of the copy.
    expect(world.refuse(spanOf({ window: 4, last: 5 }))).toBe('SPAN_REFUSED');
    world.openTo(4);
    world.accept(spanOf({ window: 5, last: 6 }));
  });

  it('refuses windows that are not sealed, too many of them, and unknown reports', () => {
    const world = sealedWorld(LIMITS.spanWindowsMax + 3);
    world.openTo(1);
    const last = LIMITS.spanWindowsMax + 2;
    expect(world.refuse(spanOf({ window: 2, last }))).toBe('SPAN_REFUSED');
    world.accept(spanOf({ window: 2, last: last - 1 }));
    expect(world.refuse(spanOf({ window: last, last: last + 2 }))).toBe('SPAN_REFUSED');
    expect(world.refuse(spanOf({ window: 1, report: 3 }))).toBe('UNKNOWN_REPORT');
    expect(world.refuse(spanOf({ window: 1, generation: 2 }))).toBe('UNKNOWN_REPORT');
  });

  const alike = (version: number) => ({ schemaVersions: [{ table: 'orders', version }] });
});

describe('a span of several windows', () => {
  it('is one task for each part, keyed by its first window', () => {
    const job = jobOf();
    const world = runningWorld({ ...job, reports: job.reports.map((report) => ({ ...report, parts: 2 })) });
    for (let i = 0; i < 5; i++) world.seal();
    world.openTo(1);
    world.accept(spanOf({ window: 2, last: 5 }));
    expect(world.refuse(grantOf({ window: 2, executorId: 1 }))).toBe('UNKNOWN_TASK');
    expect(world.refuse(grantOf({ window: 3, last: 5, executorId: 1 }))).toBe('UNKNOWN_TASK');
    const parts = [0, 1].map((part) => world.grant({ window: 2, last: 5, part, executorId: 1 }));
    expect(parts.map(({ key }) => key)).toEqual(['1/1/2/0', '1/1/2/1']);
    expect(world.refuse(grantOf({ window: 2, last: 5, part: 2, executorId: 1 }))).toBe('UNKNOWN_TASK');
    for (const part of [0, 1]) world.accept(finishOf(world.grant({ window: 1, part, executorId: 1 })));
    expect(world.report()).toMatchObject({ mergedWindow: 1, finalWindow: 1 });
    for (const task of parts) world.accept(finishOf(task));
    expect(world.report()).toMatchObject({ mergedWindow: 5, finalWindow: 5 });
    expect(world.source().mergedWindow).toBe(5);
  });

  it('is merged, not final, while a part of it is DEAD, and holds those behind it', () => {
    const world = sealedWorld(6);
    world.accept(finishOf(world.grant({ window: 1, executorId: 1 })));
    world.accept(spanOf({ window: 2, last: 3 }));
    const dead = world.grant({ window: 2, last: 3, executorId: 1, purpose: 'DEAD' });
    world.accept(finishOf(dead, 'DEAD'));
    world.accept(spanOf({ window: 4, last: 6 }));
    world.accept(finishOf(world.grant({ window: 4, last: 6, executorId: 1 })));
    expect(world.report()).toMatchObject({ mergedWindow: 6, finalWindow: 1, holes: 1 });
    world.accept({ type: 'task.wake', v: 1, keys: [dead.key] });
    expect(world.report()).toMatchObject({ mergedWindow: 1, finalWindow: 1, holes: 1 });
    world.accept(finishOf(world.grant({ window: 2, last: 3, executorId: 1, version: 2 })));
    expect(world.report()).toMatchObject({ mergedWindow: 6, finalWindow: 6, holes: 0 });
  });
});
