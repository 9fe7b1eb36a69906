import { expect, it } from 'vitest';
import { Covers } from '../../src/collector/covers.ts';

it.each([3, 60, 600])('a window of %i s covers nearly all of its time', (seconds) => {
  const covers = new Covers((to, position) => Number(to) >= Number(position));
  const end = seconds * 1_000;
  for (let at = 100; at <= end; at += 100) covers.add({ timeMs: at, position: String(at) });
  // The log is always read a little behind what the source says of its end.
  const covered = covers.upTo(String(end - 40));
  expect(covered).toBeLessThan(end);
  expect(covered).toBeGreaterThanOrEqual(end * 0.97 - 100);
});
