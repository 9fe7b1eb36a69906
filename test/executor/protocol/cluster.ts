/**
 * The cluster's side of the protocol, as far as it is replicated: seals, tasks, the sink epoch, fold marks
 * (design 6.4, 6.7, 6.10, 6.12). Each method is one committed entry.
 */
import type { Rules } from './clauses.ts';
import {
  NOT_FOLDED,
  type FoldMark,
  type FreshEpoch,
  type Inventory,
  type InventoryOfReport,
  type KnownTask,
  type LedgerRow,
  type SinkGrant,
  type Span,
  type Token,
  type Witness,
  type WriteResult,
} from './database.ts';

export interface SealedWindow {
  readonly from: number;
  readonly to: number;
  readonly seal: Token;
}

export type TaskState = 'ASSIGNED' | 'DONE' | 'SKIPPED' | 'FOLDED';

export interface Task {
  readonly span: Span;
  readonly token: Token;
  readonly epoch: Token;
  readonly purpose: 'merge' | 'skip';
  readonly state: TaskState;
}

export interface Generation {
  readonly id: number;
  /** Whether its tables are known to stand. */
  prepared: boolean;
  /** By source: the last window of its first contribution, read from the row states; 0 if there was none. */
  readonly startsAt: readonly number[];
  readonly tasks: Map<string, Task>;
  readonly folded: Map<number, FoldMark>;
}

/** Every possible term of one cluster fits below the next cluster's. */
const TERM = 1_000;
const RESTORE_TERMS = 4_096;

export class Cluster {
  readonly id: string;
  readonly ancestors: readonly string[];
  readonly windows: SealedWindow[][];
  readonly generations = new Map<number, Generation>();
  /** By source; undefined before the first grant. */
  readonly collectors: (Token | undefined)[];
  epoch: Token = 0;
  /** The server on which the epoch was set. */
  server = 0;
  /** Whether an executor has set the epoch and told what it found. */
  ready = false;
  #term: number;
  #grants = 0;
  #generations = 0;
  readonly #rules: Rules;

  constructor(id: string, sources: number, rules: Rules) {
    this.id = id;
    this.ancestors = [];
    this.windows = Array.from({ length: sources }, () => []);
    this.collectors = Array.from({ length: sources }, () => undefined);
    this.#term = 1;
    this.#rules = rules;
  }

  /** A new cluster from a backup of this one (design section 5). */
  restored(id: string): Cluster {
    const cluster = this.copy(id, [...this.ancestors, this.id]);
    if (this.#rules('restoreRaisesTerm')) cluster.#term += RESTORE_TERMS;
    if (this.#rules('restoreDropsCollectors')) cluster.collectors.fill(undefined);
    cluster.ready = false;
    cluster.grantEpoch();
    return cluster;
  }

  copy(id: string = this.id, ancestors: readonly string[] = this.ancestors): Cluster {
    const cluster = new Cluster(id, this.windows.length, this.#rules);
    Object.assign(cluster, { ancestors, epoch: this.epoch, server: this.server, ready: this.ready });
    for (const [source, windows] of this.windows.entries()) cluster.windows[source] = [...windows];
    for (const [source, collector] of this.collectors.entries()) cluster.collectors[source] = collector;
    for (const [key, generation] of this.generations) {
      cluster.generations.set(key, {
        ...generation,
        tasks: new Map(generation.tasks),
        folded: new Map(generation.folded),
      });
    }
    cluster.#term = this.#term;
    cluster.#grants = this.#grants;
    cluster.#generations = this.#generations;
    return cluster;
  }

  newTerm(): void {
    this.#term += 1;
  }

  token(): Token {
    this.#grants += 1;
    return this.#term * TERM + this.#grants;
  }

  grantCollector(source: number): void {
    if (this.ready) this.collectors[source] = this.token();
  }

  /** Accepted only under the current epoch and from where the last window ended (design 6.4). */
  seal(source: number, epoch: Token, from: number, to: number): void {
    const windows = this.windows[source] ?? [];
    if (this.collectors[source] === epoch && this.end(source) === from)
      windows.push({ from, to, seal: epoch });
  }

  /** Where the last sealed window of a source ends. */
  end(source: number): number {
    return this.windows[source]?.at(-1)?.to ?? 0;
  }

  lastWindow(source: number): number {
    return this.windows[source]?.length ?? 0;
  }

  /** A report, defined or defined anew: its first contribution comes from the row states (design 6.6). */
  define(): Generation {
    this.#generations += 1;
    const generation: Generation = {
      id: this.#generations * TERM * TERM + this.#term,
      prepared: false,
      startsAt: this.windows.map((windows) => windows.length),
      tasks: new Map(),
      folded: new Map(),
    };
    this.generations.set(generation.id, generation);
    return generation;
  }

  foldedUpTo(generation: Generation, source: number): number {
    return generation.folded.get(source)?.window ?? 0;
  }

  /** The spans that a task may be granted for: no window of them was granted before. */
  grantable(generation: Generation, source: number, longest: number): Span[] {
    const granted = new Set<number>();
    for (const { span } of generation.tasks.values()) {
      if (span.source !== source) continue;
      for (let window = span.first; window <= span.last; window++) granted.add(window);
    }
    const startsAt = generation.startsAt[source] ?? 0;
    const spans: Span[] = [];
    for (let first = this.foldedUpTo(generation, source) + 1; first <= this.lastWindow(source); first++) {
      if (granted.has(first)) continue;
      const last = first <= startsAt ? startsAt : this.#spanEnd(first, source, longest, granted);
      spans.push({ generation: generation.id, source, first, last });
      if (first <= startsAt) first = startsAt;
    }
    return spans;
  }

  #spanEnd(first: number, source: number, longest: number, granted: ReadonlySet<number>): number {
    let last = first;
    while (last < this.lastWindow(source) && last - first + 1 < longest) {
      if (granted.has(last + 1) && this.#rules('spanOfFreshWindows')) break;
      last += 1;
    }
    return last;
  }

  get sinkGrant(): SinkGrant {
    return { cluster: this.id, epoch: this.epoch, server: this.server };
  }

  /** Commits the next version of a task under a token of its own. */
  grant(span: Span, purpose: Task['purpose'], sameToken = false): Task | undefined {
    const generation = this.generations.get(span.generation);
    if (!this.ready || generation?.prepared !== true) return undefined;
    const key = taskKey(span);
    const current = generation.tasks.get(key);
    const token = sameToken && current !== undefined ? current.token : this.token();
    const task: Task = { span, token, epoch: this.epoch, purpose, state: 'ASSIGNED' };
    generation.tasks.set(key, task);
    return task;
  }

  /** What an executor tells of a task; counted only for the current version under the current epoch. */
  finish(span: Span, told: { token: Token; epoch: Token; result: WriteResult }): void {
    const task = this.generations.get(span.generation)?.tasks.get(taskKey(span));
    if (task?.state !== 'ASSIGNED') return;
    if (told.token !== task.token && this.#rules('doneOfCurrentVersion')) return;
    if (told.epoch !== this.epoch && this.#rules('answerOfCurrentEpoch')) return;
    const generation = this.generations.get(span.generation);
    const finished = { DONE: task.purpose === 'skip' ? 'SKIPPED' : 'DONE', FOLDED: 'FOLDED' } as const;
    if (told.result === 'DONE' || told.result === 'FOLDED') {
      generation?.tasks.set(taskKey(span), { ...task, state: finished[told.result] });
    }
  }

  /** What it knows to be done in the report database. */
  witnesses(): Witness[] {
    return [...this.generations.values()].flatMap(({ id: generation, prepared, folded, tasks }) => {
      const finished = [...tasks.values()].filter(({ state }) => state !== 'ASSIGNED' && state !== 'FOLDED');
      return [
        ...(prepared ? [{ generation }] : []),
        ...[...folded].map(([source, { window }]) => ({ generation, folded: { source, window } })),
        ...finished.map(({ span, token }) => ({ generation, task: { span, token } })),
      ];
    });
  }

  /** How far the windows of a source are FINAL for a generation. */
  finalUpTo(generation: Generation, source: number): number {
    let mark = this.foldedUpTo(generation, source);
    for (;;) {
      const task = generation.tasks.get(`${source}/${mark + 1}`);
      if (task === undefined || task.state === 'ASSIGNED') return mark;
      mark = task.span.last;
    }
  }

  /** A fresh one for each try (design 6.12); no grants until it is set and its inventory adopted. */
  grantEpoch(): FreshEpoch {
    this.epoch = this.token();
    this.ready = false;
    const known = new Map<number, Map<string, KnownTask>>();
    for (const [id, generation] of this.generations) {
      const tasks = new Map<string, KnownTask>();
      for (const [key, task] of generation.tasks) {
        const skipped = task.state === 'SKIPPED' || (task.state === 'ASSIGNED' && task.purpose === 'skip');
        tasks.set(key, { span: task.span, token: task.token, skipped, seal: this.#sealOf(task.span) });
      }
      known.set(id, tasks);
    }
    return { cluster: this.id, epoch: this.epoch, ancestors: this.ancestors, known };
  }

  #sealOf(span: Span): Token {
    const windows = (this.windows[span.source] ?? []).slice(span.first - 1, span.last);
    return Math.max(0, ...windows.map(({ seal }) => seal));
  }

  /** Takes up what the database holds under the epoch, and gives out again what it lacks. */
  adopt(epoch: Token, inventory: Inventory): void {
    if (epoch !== this.epoch || this.ready) return;
    for (const generation of [...this.generations.values()]) {
      const found = inventory.reports.get(generation.id);
      if (found === undefined ? !generation.prepared : this.#chainKnown(found.folded)) {
        if (found !== undefined) this.#compare(generation, found);
      } else if (found !== undefined || this.#rules('unknownGenerationRebuilt')) {
        this.generations.delete(generation.id);
        this.define();
      }
    }
    this.server = inventory.server;
    this.ready = true;
  }

  /** A fold mark that was made over windows which this cluster has cut otherwise cannot be taken back. */
  #chainKnown(folded: ReadonlyMap<number, FoldMark>): boolean {
    if (!this.#rules('foldOnKnownChain')) return true;
    return [...folded].every(
      ([source, mark]) => mark.window === 0 || this.windows[source]?.[mark.window - 1]?.seal === mark.seal,
    );
  }

  #compare(generation: Generation, found: InventoryOfReport): void {
    generation.prepared = true;
    if (this.#rules('foldMarksAdopted')) {
      for (const source of this.windows.keys()) {
        generation.folded.set(source, found.folded.get(source) ?? NOT_FOLDED);
      }
    }
    for (const [key, task] of generation.tasks) {
      if (task.span.last <= this.foldedUpTo(generation, task.span.source)) {
        if (task.state === 'ASSIGNED') generation.tasks.set(key, { ...task, state: 'FOLDED' });
      } else if (this.#lacks(task, found.ledger.get(key))) {
        const purpose = task.state === 'SKIPPED' ? 'skip' : task.purpose;
        generation.tasks.set(key, {
          ...task,
          purpose,
          token:
            task.state === 'ASSIGNED' && !this.#rules('assignedGetNewVersion') ? task.token : this.token(),
          epoch: this.epoch,
          state: 'ASSIGNED',
        });
      }
    }
  }

  #lacks(task: Task, row: LedgerRow | undefined): boolean {
    if (task.state === 'ASSIGNED') return true;
    if (task.state === 'SKIPPED') return row?.hole !== true && this.#rules('skippedComparedWithLedger');
    return row?.applied !== task.token && this.#rules('doneComparedWithLedger');
  }
}

export function taskKey(span: Pick<Span, 'source' | 'first'>): string {
  return `${span.source}/${span.first}`;
}
