// Writes at a client: as many as it takes, or offered at a rate whatever the answers take.
import { pause } from './cluster.mjs';

/** Runs `write(n)` with so many under way until `done()`; resolves with how many there were. */
export async function busy(write, done, inFlight) {
  let next = 0;
  const worker = async () => {
    while (!done()) await write(next++);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return next;
}

/** Offers writes at `rate` a second until `done()`; resolves with what came of them. */
export async function offer(rate, write, done) {
  const latencies = [];
  const open = new Set();
  let offered = 0;
  let failed = 0;
  const beganAt = performance.now();
  while (!done()) {
    const due = Math.floor(((performance.now() - beganAt) / 1_000) * rate);
    for (; offered < due; offered++) {
      const at = performance.now();
      const answered = write(offered).then(
        () => latencies.push(performance.now() - at),
        () => (failed += 1),
      );
      open.add(answered);
      void answered.finally(() => open.delete(answered));
    }
    await pause(1);
  }
  const seconds = (performance.now() - beganAt) / 1_000;
  const reached = latencies.length / seconds;
  await Promise.all(open);
  latencies.sort((a, b) => a - b);
  const at = (part) => latencies[Math.floor(latencies.length * part)] ?? Infinity;
  return { seconds, reached, failed, p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

export const after = (seconds) => {
  const endsAt = performance.now() + seconds * 1_000;
  return () => performance.now() >= endsAt;
};
