/** How long the last synced writes of the log took: what an operator looks at when a cluster is slow. */
import { must } from '../../base/index.ts';
import type { WriteTimes } from '../types.ts';

/** Some seconds of a busy member, some minutes of an idle one. */
const SAMPLES = 512;

export class WriteTimeRing {
  readonly #samples = new Float64Array(SAMPLES);
  #count = 0;

  /** Takes the duration of one write, in milliseconds. */
  add(ms: number): void {
    this.#samples[this.#count % SAMPLES] = ms;
    this.#count += 1;
  }

  /** Sorts the samples: for status calls and metrics, not for every write. */
  read(): WriteTimes {
    const kept = this.#samples.slice(0, Math.min(this.#count, SAMPLES)).sort();
    const at = (share: number): number =>
      kept.length === 0 ? 0 : must(kept[Math.ceil(share * kept.length) - 1], 'a sample');
    return { count: this.#count, p50Ms: at(0.5), p99Ms: at(0.99) };
  }
}
