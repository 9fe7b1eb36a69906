/** Keeps a stream of bytes below a rate, so that whoever makes it has time for something else. */
import { mutated, sleep, type Clock } from '../base/index.ts';

/** Hands the pieces on no faster than the rate allows; time in which nobody asked is not made up for. */
export async function* paced(
  pieces: AsyncIterable<Uint8Array>,
  bytesPerSecond: number,
  clock: Clock,
): AsyncGenerator<Uint8Array, void, undefined> {
  let dueMs = clock.monotonicMs();
  for await (const piece of pieces) {
    const waitMs = dueMs - clock.monotonicMs();
    if (waitMs > 0 && !mutated('backup.unpaced')) await sleep(clock, waitMs);
    yield piece;
    dueMs = Math.max(dueMs, clock.monotonicMs()) + (1_000 * piece.length) / bytesPerSecond;
  }
}
