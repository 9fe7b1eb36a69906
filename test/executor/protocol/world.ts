/**
 * Everything that can happen, in any order: sources that change, collectors, leaders, executors whose
 * transactions arrive late, twice or never, report primaries that fail over to a state without the last
 * commits (the old one answers for a while), clusters restored from a backup while the old one still acts.
 */
import type { Rules } from './clauses.ts';
import { Cluster, type Generation, type Task } from './cluster.ts';
import {
  copyDatabase,
  emptyDatabase,
  fold,
  ledgerKey,
  merge,
  prepare,
  probe,
  setEpoch,
  skip,
  type Database,
  type Fold,
  type FreshEpoch,
  type Merge,
  type Probe,
  type SinkGrant,
  type Span,
  type Witness,
  type Write,
  type WriteResult,
} from './database.ts';
import type { Random } from './random.ts';
import { Violation } from './violation.ts';

type Message = { readonly from: Cluster } & (
  | { readonly kind: 'epoch'; readonly body: FreshEpoch }
  | { readonly kind: 'prepare'; readonly body: SinkGrant & { readonly generation: number } }
  | { readonly kind: 'merge'; readonly body: Merge }
  | { readonly kind: 'skip'; readonly body: Write }
  | { readonly kind: 'fold'; readonly body: Fold }
  | { readonly kind: 'probe'; readonly body: Probe }
);

interface Seal {
  readonly cluster: Cluster;
  readonly source: number;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
}

type Step = readonly [weight: number, name: string, run: () => void];

/** A step of this weight or less is rare. */
const RARE = 2;
const SOURCES = 2;
const WINDOWS_MAX = 9;
const COMMITS_LOST_MAX = 5;
const LONGEST_SPAN = 3;
const IN_FLIGHT_MAX = 40;

export class World {
  /** The last is the one that operators believe in. */
  readonly clusters: Cluster[];
  primary: Database;
  readonly events: number[] = Array.from({ length: SOURCES }, () => 0);
  readonly happened = new Map<string, number>();
  readonly #random: Random;
  readonly #rules: Rules;
  #servers = 1;
  /**
   * Whether the primary may be restored in place. Not in every world: asking for what was lost, which finds
   * that, would mend what other missing clauses leave behind.
   */
  readonly #inPlace: boolean;
  readonly #steps: readonly Step[];
  #old: Database | undefined;
  #history: Database[] = [];
  #messages: Message[] = [];
  #answers: (() => void)[] = [];
  #seals: Seal[] = [];
  #backup: Cluster | undefined;

  constructor(random: Random, rules: Rules) {
    this.#random = random;
    this.#rules = rules;
    this.#inPlace = random.below(2) === 0;
    this.#steps = this.#makeSteps();
    const cluster = new Cluster('c1', SOURCES, rules);
    this.clusters = [cluster];
    this.primary = emptyDatabase('c1');
    cluster.define();
    this.#renewEpoch(cluster);
  }

  get cluster(): Cluster {
    const cluster = this.clusters.at(-1);
    if (cluster === undefined) throw new Error('there is always a cluster');
    return cluster;
  }

  step(): void {
    let at = this.#random.below(this.#steps.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, name, run] of this.#steps) {
      if (at < weight) {
        this.happened.set(name, (this.happened.get(name) ?? 0) + 1);
        run();
        return;
      }
      at -= weight;
    }
  }

  /** What is rare is frequent in some worlds and never happens in others: so that any two faults meet. */
  #makeSteps(): readonly Step[] {
    const steps: readonly Step[] = [
      [10, 'change', () => void (this.events[this.#random.below(SOURCES)]! += 1)],
      [2, 'collector', () => this.#someCluster().grantCollector(this.#random.below(SOURCES))],
      [12, 'cut', () => this.#cut()],
      [10, 'seal', () => this.#deliverSeal()],
      [16, 'grant', () => this.#plan(this.#someCluster())],
      [5, 'grant again', () => this.#again('merge')],
      [2, 'skip', () => this.#again('skip')],
      [5, 'fold', () => this.#fold(this.#someCluster())],
      [2, 'probe', () => this.#probe(this.#someCluster(), [])],
      [2, 'define', () => this.#define()],
      [40, 'transaction', () => this.#deliver(true)],
      [30, 'answer', () => this.#answers.splice(this.#random.below(this.#answers.length), 1)[0]?.()],
      [2, 'answer lost', () => void this.#answers.splice(this.#random.below(this.#answers.length), 1)],
      [2, 'leader', () => this.#someCluster().newTerm()],
      [2, 'failover', () => this.#failOver()],
      [
        1,
        'restored in place',
        () => {
          this.#restoreInPlace();
        },
      ],
      [1, 'old primary dies', () => void (this.#old = undefined)],
      [1, 'backup', () => void (this.#backup = this.cluster.copy())],
      [1, 'restore', () => this.#restore()],
    ];
    return steps.map(([weight, name, run]) => [
      weight > RARE ? weight : weight * this.#random.oneOf([0, 1, 1, 4]),
      name,
      run,
    ]);
  }

  /** Nothing goes wrong any more: everything that is open ends. Returns whether it did. */
  settle(): boolean {
    this.#old = undefined;
    const { cluster } = this;
    let quiet = 0;
    for (let round = 0; round < 60; round++) {
      while (this.#messages.length + this.#answers.length > 0) {
        this.#deliver(false);
        for (const answer of this.#answers.splice(0)) answer();
      }
      // A second time: what the database has lost is noticed by the probe that was sent in between.
      quiet = cluster.ready && this.#isSettled(cluster) ? quiet + 1 : 0;
      if (quiet === 2) return true;
      if (!cluster.ready) this.#renewEpoch(cluster);
      this.#finishWork(cluster);
      this.#probe(cluster, this.#inPlace ? cluster.witnesses() : []);
    }
    return false;
  }

  #isSettled(cluster: Cluster): boolean {
    const { primary } = this;
    if (primary.cluster !== cluster.id || primary.epoch !== cluster.epoch) return false;
    if (primary.server !== cluster.server) return false;
    return [...cluster.generations.values()].every(
      (generation) =>
        generation.prepared &&
        this.events.every(
          (_count, source) => cluster.finalUpTo(generation, source) === cluster.lastWindow(source),
        ),
    );
  }

  #finishWork(cluster: Cluster): void {
    for (const generation of cluster.generations.values()) {
      if (!generation.prepared) this.#prepare(cluster, generation);
      for (const source of this.events.keys()) {
        for (const span of cluster.grantable(generation, source, 1))
          this.#dispatch(cluster, cluster.grant(span, 'merge'));
      }
      for (const task of generation.tasks.values()) {
        if (task.state === 'ASSIGNED') this.#dispatch(cluster, cluster.grant(task.span, task.purpose));
      }
    }
  }

  /** An older cluster whose machines were only believed dead still acts now and then. */
  #someCluster(): Cluster {
    const older = this.clusters.length > 1 && this.#random.below(5) === 0;
    return older ? this.#random.oneOf(this.clusters) : this.cluster;
  }

  #cut(): void {
    const cluster = this.#someCluster();
    const source = this.#random.below(SOURCES);
    const epoch = cluster.collectors[source];
    const from = cluster.end(source);
    const read = (this.events[source] ?? 0) - from;
    if (epoch === undefined || cluster.lastWindow(source) >= WINDOWS_MAX || read <= 0) return;
    this.#seals.push({ cluster, source, epoch, from, to: from + 1 + this.#random.below(Math.min(read, 3)) });
  }

  /** A seal may come late, after another collector's. */
  #deliverSeal(): void {
    const [seal] = this.#seals.splice(this.#random.below(this.#seals.length), 1);
    seal?.cluster.seal(seal.source, seal.epoch, seal.from, seal.to);
  }

  #plan(cluster: Cluster): void {
    const generation = this.#someGeneration(cluster);
    if (generation === undefined) return;
    if (!generation.prepared) {
      this.#prepare(cluster, generation);
      return;
    }
    const spans = cluster.grantable(
      generation,
      this.#random.below(SOURCES),
      1 + this.#random.below(LONGEST_SPAN),
    );
    if (spans.length > 0) this.#dispatch(cluster, cluster.grant(this.#random.oneOf(spans), 'merge'));
  }

  /** A hung task, a recompute of one that is done, or a skip: a new version. */
  #again(purpose: Task['purpose']): void {
    const cluster = this.#someCluster();
    const tasks = [...(this.#someGeneration(cluster)?.tasks.values() ?? [])];
    const open = tasks.filter(
      ({ state, purpose: of }) => state === 'DONE' || (state === 'ASSIGNED' && of === 'merge'),
    );
    if (open.length === 0) return;
    const { span } = this.#random.oneOf(open);
    const sameToken = purpose === 'skip' && !this.#rules('skipUnderNewVersion');
    this.#dispatch(cluster, cluster.grant(span, purpose, sameToken));
  }

  #dispatch(cluster: Cluster, task: Task | undefined): void {
    if (task === undefined) return;
    const { span, token, epoch, purpose } = task;
    const write = { ...cluster.sinkGrant, epoch, span, token };
    if (purpose === 'skip') {
      this.#post({ from: cluster, kind: 'skip', body: write });
      return;
    }
    const generation = cluster.generations.get(span.generation);
    const believed = generation === undefined ? 0 : cluster.finalUpTo(generation, span.source);
    this.#post({
      from: cluster,
      kind: 'merge',
      body: { ...write, events: eventsOf(cluster, span), believed },
    });
  }

  #fold(cluster: Cluster): void {
    const generation = this.#someGeneration(cluster);
    if (generation === undefined || !cluster.ready) return;
    const source = this.#random.below(SOURCES);
    const upTo = this.#rules('foldStopsAtUnsettled')
      ? cluster.finalUpTo(generation, source)
      : cluster.lastWindow(source);
    if (upTo <= cluster.foldedUpTo(generation, source)) return;
    const seals = (cluster.windows[source] ?? []).map(({ seal }) => seal);
    const body = { ...cluster.sinkGrant, generation: generation.id, source, upTo, seals };
    this.#post({ from: cluster, kind: 'fold', body });
  }

  #define(): void {
    const { cluster } = this;
    if (cluster.generations.size < 2) cluster.define();
    else if (this.#random.below(3) === 0)
      cluster.generations.delete(this.#random.oneOf([...cluster.generations.keys()]));
  }

  #someGeneration(cluster: Cluster): Generation | undefined {
    const generations = [...cluster.generations.values()];
    return generations.length === 0 ? undefined : this.#random.oneOf(generations);
  }

  #prepare(cluster: Cluster, { id: generation }: Generation): void {
    if (!cluster.ready) return;
    this.#post({ from: cluster, kind: 'prepare', body: { ...cluster.sinkGrant, generation } });
  }

  #renewEpoch(cluster: Cluster): void {
    this.#post({ from: cluster, kind: 'epoch', body: cluster.grantEpoch() });
  }

  #probe(cluster: Cluster, witnesses: readonly Witness[]): void {
    if (!cluster.ready) return;
    this.#post({ from: cluster, kind: 'probe', body: { ...cluster.sinkGrant, witnesses } });
  }

  #post(message: Message): void {
    this.#messages.push(message);
    if (this.#messages.length > IN_FLIGHT_MAX)
      this.#messages.splice(this.#random.below(this.#messages.length), 1);
  }

  /** Runs one transaction, now and then again later, now and then on a primary that is none any more. */
  #deliver(faults: boolean): void {
    const at = this.#random.below(this.#messages.length);
    const message = this.#messages[at];
    if (message === undefined) return;
    if (!faults || this.#random.below(4) > 0) this.#messages.splice(at, 1);
    const strayed = faults && this.#old !== undefined && this.#random.below(4) === 0;
    const database = strayed ? this.#old : this.primary;
    if (database === undefined) return;
    if (!strayed) {
      this.#history.push(copyDatabase(database));
      if (this.#history.length > COMMITS_LOST_MAX) this.#history.shift();
    }
    this.#answers.push(this.#run(message, database));
  }

  /** Returns what its answer will do, should it arrive. */
  #run(message: Message, database: Database): () => void {
    const { from: cluster } = message;
    const renew = (): void => {
      if (message.body.epoch === cluster.epoch && cluster.ready) this.#renewEpoch(cluster);
    };
    switch (message.kind) {
      case 'epoch': {
        const { epoch } = message.body;
        const found = setEpoch(database, message.body, this.#rules);
        return () => {
          // It is run once, and answered when it has ended: no copy of it comes after its answer. On a
          // database that was put back in place nothing else would stop one.
          if (this.#rules('epochOncePerTry'))
            this.#messages = this.#messages.filter(({ body }) => body !== message.body);
          if (typeof found !== 'string') cluster.adopt(epoch, found);
          else if (found === 'STALE' && epoch === cluster.epoch && !cluster.ready) this.#renewEpoch(cluster);
        };
      }
      case 'prepare': {
        const { generation, epoch } = message.body;
        const result = prepare(database, message.body, generation, this.#rules);
        const known = cluster.generations.get(generation);
        if (result !== 'DONE') return renew;
        return () => {
          if (known !== undefined && epoch === cluster.epoch) known.prepared = true;
        };
      }
      case 'fold': {
        const { generation, source, epoch } = message.body;
        const mark = fold(database, message.body, this.#rules);
        if (typeof mark === 'string') return renew;
        return () => {
          const known = cluster.generations.get(generation);
          const counts = epoch === cluster.epoch || !this.#rules('answerOfCurrentEpoch');
          if (known === undefined || !counts || mark.window <= cluster.foldedUpTo(known, source)) return;
          known.folded.set(source, mark);
        };
      }
      case 'probe': {
        return probe(database, message.body, this.#rules) === 'DONE' ? () => undefined : renew;
      }
      case 'merge':
      case 'skip': {
        const { span, token, epoch } = message.body;
        const write =
          message.kind === 'merge'
            ? this.#merge(database, message.body)
            : skip(database, message.body, this.#rules);
        return () => {
          if (write === 'WRONG_EPOCH' || write === 'UNKNOWN_REPORT') renew();
          else cluster.finish(span, { token, epoch, result: write });
        };
      }
    }
  }

  /** A version that comes late changes nothing (design 6.8). */
  #merge(database: Database, input: Merge): WriteResult {
    const applied = (): number => {
      const { ledger } = database.reports.get(input.span.generation) ?? {};
      return ledger?.get(ledgerKey(input.span, this.#rules))?.applied ?? 0;
    };
    const before = applied();
    const result = merge(database, input, this.#rules);
    if (applied() < before) throw new Violation(`version ${applied()} has replaced version ${before}`);
    return result;
  }

  #failOver(): void {
    const lost = this.#random.below(this.#history.length + 1);
    const survivor = this.#history[this.#history.length - lost];
    this.#old = this.primary;
    this.#servers += 1;
    this.primary = copyDatabase(survivor ?? this.primary, this.#servers);
    this.#history = [];
  }

  /** The same server, put back to an earlier state: nothing but what is missing shows it. */
  #restoreInPlace(): void {
    if (!this.#inPlace) return;
    const earlier = this.#history[this.#random.below(this.#history.length)];
    if (earlier !== undefined) this.primary = copyDatabase(earlier);
    this.#history = [];
  }

  #restore(): void {
    if (this.#backup === undefined || this.clusters.length > 3) return;
    const cluster = this.#backup.restored(`c${this.clusters.length + 1}`);
    this.#backup = undefined;
    this.clusters.push(cluster);
    this.#renewEpoch(cluster);
  }
}

/** The events that the sealed windows of a span hold. */
export function eventsOf(cluster: Cluster, { source, first, last }: Omit<Span, 'generation'>): string[] {
  const windows = (cluster.windows[source] ?? []).slice(first - 1, last);
  return windows.flatMap(({ from, to }) =>
    Array.from({ length: to - from }, (_, at) => `${source}:${from + at + 1}`),
  );
}
