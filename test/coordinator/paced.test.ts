import { expect } from 'vitest';
import type { Clock } from '../../src/base/index.ts';
import { paced } from '../../src/coordinator/paced.ts';
import { rule } from '../support/rule.ts';

/** Time passes only while somebody waits. */
class WaitingClock implements Clock {
  nowMs = 0;

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return this.nowMs;
  }

  after(ms: number, run: () => void): () => void {
    this.nowMs += ms;
    queueMicrotask(run);
    return () => undefined;
  }
}

async function* pieces(count: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let left = count; left > 0; left--) yield await Promise.resolve(Buffer.alloc(1_000));
}

rule('backup.unpaced', 'a backup is given out at its pace, and a slow reader gets no burst', async () => {
  const clock = new WaitingClock();
  const at: number[] = [];
  for await (const piece of paced(pieces(20), 50_000, clock)) {
    at.push(clock.nowMs);
    expect(piece).toHaveLength(1_000);
    if (at.length === 10) clock.nowMs += 5_000;
  }
  const gaps = at.slice(1).map((ms, n) => Math.round(ms - (at[n] ?? 0)));
  expect(gaps).toEqual([
    ...Array.from({ length: 9 }, () => 20),
    5_020,
    ...Array.from({ length: 9 }, () => 20),
  ]);
});
