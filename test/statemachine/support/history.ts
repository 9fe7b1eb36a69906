import {
  applyEntry,
  encodeEntry,
  idKey,
  MemoryState,
  type AppliedEntry,
  type EntryItem,
  type Operation,
} from '../../../src/statemachine/index.ts';
import { finishOf, grantOf, jobOf, prepared, reconciled, sealOf, spanOf } from './world.ts';

/** A small generator of numbers: the same seed gives the same history everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number from 0 to 1, without 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.below(items.length)];
  }
}

/**
 * A history of committed entries: operations of every family, chosen by the state that the ones before have
 * led to, wrong ones and repeated requests among them.
 */
export function randomHistory(seed: number, entries: number): AppliedEntry[] {
  const random = new Random(seed);
  const state = new MemoryState();
  const asked: EntryItem[] = [];
  const history: AppliedEntry[] = [];
  let term = 1;
  for (let index = 1; index <= entries; index++) {
    if (random.below(20) === 0) term += 1 + random.below(3);
    if (random.below(25) === 0) {
      history.push({ index, term, data: new Uint8Array(0) });
      continue;
    }
    const items = Array.from({ length: 1 + random.below(4) }, () => randomItem(random, state, asked));
    const entry = { logTimeMs: index * 10 - random.below(30) + 30, wallMs: 1_700_000_000_000 + index, items };
    history.push({ index, term, data: encodeEntry(entry) });
    applyEntry(state, entry, { index, term });
  }
  return history;
}

function randomItem(random: Random, state: MemoryState, asked: EntryItem[]): EntryItem {
  const repeated = random.below(5) === 0 ? random.pick(asked) : undefined;
  if (repeated !== undefined) return repeated;
  const operations = Array.from({ length: 1 + random.below(3) }, () => randomOperation(random, state));
  const session = random.below(3) === 0 ? (random.pick([...state.sessions.values()])?.id ?? 99) : 0;
  const item = { session, sequence: session === 0 ? 0 : 1 + random.below(100), operations };
  if (session !== 0) asked.push(item);
  return item;
}

function randomSinkOperation(random: Random, state: MemoryState): Operation {
  const { epoch = null, reconciled: done = false } = state.sinks.get(idKey(1)) ?? {};
  if (epoch === null || (done && random.below(8) === 0)) {
    const executorId = random.pick([...state.executors.values()])?.id ?? 1;
    return { type: 'sink.grant', v: 1, sinkId: 1, executorId };
  }
  const tasks = [...state.tasks.values()].filter(() => random.below(4) === 0).map(({ key }) => key);
  return reconciled(1, epoch, tasks);
}

function randomOperation(random: Random, state: MemoryState): Operation {
  const name = random.pick(['a', 'b', 'c', 'd']) ?? 'a';
  switch (random.below(12)) {
    case 0:
      return { type: 'session.open', v: 1, name };
    case 1:
      return registerOf(name, random.below(3));
    case 2:
      return random.below(4) === 0
        ? { type: 'executor.expire', v: 1, executorId: random.below(8), reason: 'test' }
        : registerOf(name, 0);
    case 3:
      return jobOf(
        random.below(5) === 0 ? { shop: ['sales'], [name]: ['x'] } : { shop: ['sales', 'returns'] },
      );
    case 4:
      return randomSinkOperation(random, state);
    case 5:
    case 6:
    case 7:
      return randomSourceOperation(random, state);
    default:
      return randomTaskOperation(random, state);
  }
}

function registerOf(name: string, incarnation: number): Operation {
  return {
    type: 'executor.register',
    v: 1,
    name,
    incarnation: `${name}-${incarnation}`,
    slots: 2,
    version: '0',
    engines: [],
  };
}

function randomSourceOperation(random: Random, state: MemoryState): Operation {
  const executorId = random.pick([...state.executors.values()])?.id ?? 1;
  const source = random.pick([...state.sources.values()]);
  if (source === undefined) return jobOf({ shop: ['sales', 'returns'] });
  const { id: sourceId, prepare, collector } = source;
  if (prepare === null) return { type: 'prepare.grant', v: 1, sourceId, executorId };
  if (!prepare.done) return prepared(sourceId, prepare.token);
  if (collector === null || random.below(12) === 0) {
    return { type: 'collector.grant', v: 1, sourceId, executorId };
  }
  if (random.below(12) === 0) {
    const { epoch } = collector;
    const failure = { errorCode: 'DB_FAILED', errorMessage: 'test', retryAfterMs: random.below(50) };
    return { type: 'collector.stop', v: 1, sourceId, epoch, ...failure };
  }
  return sealOf(source, source.lastWindow + (random.below(8) === 0 ? 0 : 1));
}

function randomTaskOperation(random: Random, state: MemoryState): Operation {
  const executorId = random.pick([...state.executors.values()])?.id ?? 1;
  const task = random.pick([...state.openTasks.values()]);
  const report = random.pick([...state.reports.values()]);
  const span = random.pick([...state.pendingSpans.values()]);
  const draw = random.below(12);
  const dead = random.pick([...state.deadTasks.values()]);
  if (dead !== undefined && random.below(6) === 0) {
    return random.below(2) === 0 ? finishOf(dead, 'SKIPPED') : { type: 'task.wake', v: 1, keys: [dead.key] };
  }
  if (report !== undefined && (span === undefined || random.below(4) === 0)) {
    // Mostly the next windows; at times those that a span has already.
    const { id, generation, nextWindow } = report;
    const window = Math.max(1, nextWindow - (random.below(8) === 0 ? 1 : 0));
    return spanOf({ report: id, generation, window, last: window + random.below(3) });
  }
  if (span !== undefined && (task === undefined || draw < 4)) {
    const { reportId, generation, firstWindow: window, lastWindow: last } = span;
    return grantOf({ window, last, report: reportId, generation, executorId });
  }
  if (task === undefined || random.below(12) === 0)
    return grantOf({ window: 1 + draw, last: 99, executorId });
  const version = task.version + (random.below(10) === 0 ? 2 : 1);
  const { firstWindow: window, lastWindow: last, generation } = task;
  const again = { window, last, generation, report: task.reportId, executorId, version };
  if (draw === 4) return grantOf(again);
  if (draw === 5) {
    const purpose = random.pick(['DEAD', 'SKIPPED', 'merge'] as const) ?? 'merge';
    return grantOf({ ...again, purpose });
  }
  if (draw === 6) {
    return { type: 'task.park', v: 1, key: task.key, version: task.version, delayMs: 20, reason: 'test' };
  }
  if (draw === 7) return { type: 'task.wake', v: 1, keys: random.below(2) === 0 ? [] : [task.key] };
  return finishOf(task, task.purpose === 'merge' ? 'DONE' : task.purpose);
}
