/**
 * What moment of the source a window covers (design 6.11). Several times a second the collector asks the
 * source for its time and the end of its log; a window whose `to` includes that end covers that moment.
 */
import type { SourceMoment } from './change-source.ts';

/** With more than these every other one goes: of a long window the precision in between is not missed. */
const MOMENTS_MAX = 256;

export class Covers {
  readonly #includes: (position: string, other: string) => boolean;
  #moments: SourceMoment[] = [];
  #coveredMs: number;

  constructor(includes: (position: string, other: string) => boolean, coveredMs = 0) {
    this.#includes = includes;
    this.#coveredMs = coveredMs;
  }

  add(moment: SourceMoment): void {
    if (this.#moments.length >= MOMENTS_MAX)
      this.#moments = this.#moments.filter((_moment, at) => at % 2 === 0);
    this.#moments.push(moment);
  }

  /** Returns the latest moment that a window ending at `to` covers; it never goes back. 0: none is known. */
  upTo(to: string): number {
    let covered = 0;
    while (covered < this.#moments.length && this.#includes(to, this.#moments[covered]?.position ?? '')) {
      covered += 1;
    }
    const last = this.#moments[covered - 1];
    if (last !== undefined) this.#coveredMs = Math.max(this.#coveredMs, last.timeMs);
    this.#moments = this.#moments.slice(covered);
    return this.#coveredMs;
  }
}
