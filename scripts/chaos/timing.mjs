// Waiting, and the run's own random numbers.
const LOOK_EVERY_MS = 100;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Repeats `check` until it gives something true; undefined if it does not within `withinMs`. */
export async function within(withinMs, check) {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endsAt) return undefined;
    await pause(LOOK_EVERY_MS);
  }
}

/** Numbers from 0 up to and without `below`, the same for the same seed. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
