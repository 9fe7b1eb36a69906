/**
 * How fast a leader gives out snapshots, to all followers together: reading and sending them takes from the
 * same processor, disk and link as the writes that go on.
 */
import { LIMITS, mutated } from '../../base/index.ts';

const BYTES_PER_TICK = (LIMITS.snapshotBytesPerSecond * LIMITS.raftTickMs) / 1_000;

export class SnapshotPace {
  /** What is left of this tick; below 0 if the last piece was larger than that. */
  #left = BYTES_PER_TICK;

  /** Whether another piece may be sent in this tick. */
  get open(): boolean {
    return this.#left > 0 || mutated('raft.snapshotUnpaced');
  }

  sent(bytes: number): void {
    this.#left -= bytes;
  }

  tick(): void {
    this.#left = Math.min(BYTES_PER_TICK, this.#left + BYTES_PER_TICK);
  }
}
