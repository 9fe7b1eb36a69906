// What clients saw of registers that one writer each counts up: invocations and answers with their times, and
// whether one order in real time explains them all. With one writer for each register three rules say it.
import { performance } from 'node:perf_hooks';

export class Registers {
  problems = [];
  reads = 0;
  writes = 0;
  #registers = new Map();

  #of(key) {
    let one = this.#registers.get(key);
    if (one === undefined) this.#registers.set(key, (one = { issued: [], acknowledged: [], reads: [] }));
    return one;
  }

  issue(key, value) {
    this.#of(key).issued.push({ value, at: performance.now() });
  }

  acknowledge(key, value) {
    this.writes += 1;
    this.#of(key).acknowledged.push({ value, at: performance.now() });
  }

  /** @param invokedAt of the read that has just been answered */
  read(key, value, invokedAt, where) {
    this.reads += 1;
    this.#of(key).reads.push({ value, invokedAt, answeredAt: performance.now(), where });
  }

  judge() {
    for (const [key, { issued, acknowledged, reads }] of this.#registers) {
      for (const { value, invokedAt, answeredAt, where } of reads) {
        const least = latest(acknowledged, invokedAt);
        const most = latest(issued, answeredAt);
        if (value < least)
          this.problems.push(`${where} read ${key}=${value} after ${least} was acknowledged`);
        if (value > most) this.problems.push(`${where} read ${key}=${value}, which nobody had written`);
      }
      this.#judgeOrder(key, reads);
    }
  }

  /** A read that began after another one was answered sees no older value. */
  #judgeOrder(key, reads) {
    const byAnswer = [...reads].sort((a, b) => a.answeredAt - b.answeredAt);
    const byInvocation = [...reads].sort((a, b) => a.invokedAt - b.invokedAt);
    let next = 0;
    let seen = 0;
    for (const { value, invokedAt, where } of byInvocation) {
      while (byAnswer[next].answeredAt < invokedAt) seen = Math.max(seen, byAnswer[next++].value);
      if (value < seen) this.problems.push(`${where} read ${key}=${value} after somebody had read ${seen}`);
    }
  }
}

/** The highest value before `at`; values only grow. */
function latest(events, at) {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].at < at) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : events[low - 1].value;
}
