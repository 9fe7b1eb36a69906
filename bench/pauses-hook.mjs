// Loaded into a coordinator by benchmarks: writes down, second by second, the longest time for which its
// event loop did not turn. On a busy machine that is also time for which it had no processor.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const EVERY_MS = 2;
const file = join(process.env.TIDEMARK_BENCH_PAUSES ?? '.', `${process.pid}.pauses`);

let last = performance.now();
let longest = 0;
let told = last;
const look = () => {
  const now = performance.now();
  longest = Math.max(longest, now - last - EVERY_MS);
  last = now;
  if (now - told < 1_000) return;
  appendFileSync(file, `${Date.now()} ${longest.toFixed(1)}\n`);
  told = now;
  longest = 0;
};
if (isMainThread) setInterval(look, EVERY_MS).unref();
