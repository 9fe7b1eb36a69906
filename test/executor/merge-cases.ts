/**
 * Random cases of the merge against its naive model. A case is a source of its own, so that thousands of
 * them share tables; its seed alone decides what happens in it.
 */
import { asToken } from '../../src/base/fencing-token.ts';
import { armFailpoint, disarmFailpoint } from '../../src/base/test-build-active.ts';
import { isTidemarkError, must, systemClock, type Clock } from '../../src/base/index.ts';
import { foldAndSweep } from './fold-and-sweep.ts';
import { mergeContribution } from '../../src/executor/sink/merge.ts';
import { retractContribution } from '../../src/executor/sink/retract.ts';
import type { SinkGrant } from '../../src/executor/sink/sink-epoch.ts';
import { faultyEngine, type Fault } from './faulty-engine.ts';
import { contributionOf, registerSource, TOKEN_BASE, type Sink } from './merge-fixture.ts';
import { MergeModel, type ModelCell, type Span, type WeightedRow } from './merge-model.ts';

const NAMES = ['ada', 'böb', '日本'];
const LABELS = ['x', 'y', 'ž', null];

/** mulberry32: small, seeded, good enough to choose operations. */
function generator(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

/** What is tried again is tried at once. */
const hasty: Clock = {
  ...systemClock,
  after(_delayMs, run) {
    const timer = setImmediate(run);
    return () => {
      clearImmediate(timer);
    };
  },
};

/** A merge has about as many statements, so most of these fall into its transaction. */
const STATEMENTS = 14;

/** Cases that are played again to find a shorter one are sources of their own too. */
let shortened = 2 ** 30;

/** A failpoint is armed for one hit at a time, so cases that run at once take turns with it. */
let failing: Promise<void> = Promise.resolve();

/** Something that may run at once with another one, and what the model makes of it. */
interface Racer {
  readonly run: () => Promise<string>;
  readonly expected: (model: MergeModel) => string;
}

interface Place {
  readonly span: Span;
  readonly part: number;
}

interface Attempt extends Place {
  readonly token: bigint;
  readonly rows: readonly WeightedRow[];
}

class Case {
  readonly seed: number;
  readonly sink: Sink;
  model: MergeModel;
  /** What was done, for whoever looks for the mistake. */
  readonly story: string[] = [];
  readonly #source: number;
  readonly #pick: (bound: number) => number;
  readonly #attempts: Attempt[] = [];
  #tokens: bigint;

  constructor(sink: Sink, seed: number, source = seed) {
    this.sink = sink;
    this.seed = seed;
    this.#source = source;
    this.#pick = generator(seed);
    this.#tokens = TOKEN_BASE + BigInt(seed) * 1_000n;
    const windows = [1, 2, 3, 4].slice(0, 2 + this.#pick(3));
    const joined = this.#pick(3) === 0;
    const spans = joined
      ? [{ first: 1, last: 2 }, ...windows.slice(2).map((window) => ({ first: window, last: window }))]
      : windows.map((window) => ({ first: window, last: window }));
    this.model = new MergeModel(spans, 1 + this.#pick(2));
  }

  async run(stepsMax = Infinity): Promise<void> {
    await registerSource(this.sink, this.#scope(), 'sales');
    const steps = Math.min(stepsMax, 4 + this.#pick(7));
    for (let step = 0; step < steps; step += 1) await this.#step();
    await this.#compare();
    await this.#watermark();
  }

  async #step(): Promise<void> {
    const choice = this.#pick(24);
    if (choice < 8) await this.#merge(this.#newAttempt());
    else if (choice < 12) await this.#merge(this.#oldAttempt());
    else if (choice < 14) await this.#mergeThatFails(this.#newAttempt());
    else if (choice < 16) await this.#retract();
    else if (choice < 17) await this.#refused();
    else if (choice < 19) await this.#one(this.#folding());
    else if (choice < 21) await this.#race();
    else if (choice < 23) await this.#mergeThatMeets(this.#fault());
    else await this.#watermark();
  }

  #scope(): { reportId: number; generation: number; sourceId: number } {
    return { reportId: 7, generation: 1, sourceId: this.#source };
  }

  #anySpan(): Place {
    const span = this.model.spans[this.#pick(this.model.spans.length)];
    if (span === undefined) throw new Error('a case has spans');
    return { span, part: this.#pick(this.model.parts) };
  }

  #newAttempt(at: Place = this.#anySpan()): Attempt {
    this.#tokens += 1n;
    const rows = Array.from({ length: this.#pick(6) }, (): WeightedRow => {
      const value = this.#pick(6);
      return {
        name: NAMES[this.#pick(NAMES.length)] ?? '',
        amount: value === 5 ? null : BigInt(value - 2) * 3_000_000_000_000_007n,
        label: LABELS[this.#pick(LABELS.length)] ?? null,
        weight: this.#pick(5) < 3 ? 1n : -1n,
      };
    });
    const attempt = { span: at.span, part: at.part, token: this.#tokens, rows };
    this.#attempts.push(attempt);
    return attempt;
  }

  /** A version that was granted before and merges (again) only now. */
  #oldAttempt(): Attempt {
    if (this.#attempts.length === 0 || this.#pick(3) === 0) {
      // Granted, but held: it comes back later through the list.
      this.#newAttempt();
      return this.#newAttempt();
    }
    return this.#attempts[this.#pick(this.#attempts.length)] ?? this.#newAttempt();
  }

  #input(attempt: Attempt, grant: SinkGrant = this.sink.grant): Parameters<typeof mergeContribution>[1] {
    return {
      grant,
      layout: this.sink.layout,
      span: this.#ledgerSpan(attempt.span, attempt.part),
      token: asToken(attempt.token),
      contribution: contributionOf(this.#source, attempt.rows),
    };
  }

  #ledgerSpan(span: Span, part: number): Parameters<typeof mergeContribution>[1]['span'] {
    return {
      ...this.#scope(),
      firstWindow: span.first,
      lastWindow: span.last,
      part,
      parts: this.model.parts,
      coversMs: span.last * 1_000,
      position: `at ${span.last}`,
    };
  }

  #merge(attempt: Attempt): Promise<void> {
    return this.#one(this.#merging(attempt));
  }

  #merging(attempt: Attempt, context = this.sink.context): Racer {
    const { span, part, token, rows } = attempt;
    this.story.push(`merge ${span.first}/${part} under ${token % 1_000n}`);
    return {
      run: async () => {
        const merged = await mergeContribution(context, this.#input(attempt));
        if (merged.result !== 'DONE') return merged.result;
        if (merged.foundDone) return 'DONE again';
        return merged.replaced ? 'DONE replaced' : 'DONE';
      },
      expected: (model) => model.merge(span, part, token, rows),
    };
  }

  async #one(racer: Racer): Promise<void> {
    this.#expect('result', await racer.run(), racer.expected(this.model));
  }

  async #retract(): Promise<void> {
    this.#tokens += 1n;
    // Sometimes the grant is older than some merge that is still to come.
    await this.#one(this.#retraction(this.#anySpan(), this.#tokens - BigInt(this.#pick(3))));
  }

  /** Copies, versions, retractions and folds at once: what comes of it is that of one order or the other. */
  async #race(): Promise<void> {
    const earlier = this.#newAttempt();
    const later = this.#newAttempt(earlier);
    const [attempt, other] = this.#pick(2) === 0 ? [earlier, later] : [later, earlier];
    this.story.push('at once:');
    const one = this.#merging(attempt);
    const two = this.#rival(attempt, other);
    const found = await Promise.all([one.run(), two.run()]);
    const orders = [false, true].map((swapped) => {
      const model = this.model.copy();
      const second = swapped ? two.expected(model) : '';
      const first = one.expected(model);
      return { model, results: [first, swapped ? second : two.expected(model)] };
    });
    const fits = orders.find(({ results }) => results.every((result, at) => result === found[at]));
    this.#expect('race', found.join(), (fits ?? must(orders[0], 'an order')).results.join());
    if (fits !== undefined) this.model = fits.model;
  }

  /** Of the same task: a copy, another version, or a retraction; or a fold that may want the task's span. */
  #rival(attempt: Attempt, other: Attempt): Racer {
    const kind = this.#pick(4);
    if (kind === 0) return this.#merging(attempt);
    if (kind === 1) return this.#merging(other);
    return kind === 2 ? this.#retraction(other, other.token) : this.#folding();
  }

  #fault(): Fault {
    const kind = this.#pick(3);
    if (kind === 2) return { killedBefore: 1 + this.#pick(STATEMENTS) };
    return kind === 0 ? 'answer lost' : 'commit lost';
  }

  /** The transaction runs again by itself; if the first one was committed, the second finds that out. */
  async #mergeThatMeets(fault: Fault): Promise<void> {
    const { engine } = faultyEngine(this.sink.engine, fault);
    this.story.push(`with ${JSON.stringify(fault)}:`);
    const attempt = this.#newAttempt();
    const racer = this.#merging(attempt, { ...this.sink.context, engine, clock: hasty });
    const found = await racer.run();
    const first = racer.expected(this.model);
    this.#expect('result', found, fault === 'answer lost' ? racer.expected(this.model) : first);
  }

  /** The process dies before its commit: nothing may have changed. */
  #mergeThatFails(attempt: Attempt): Promise<void> {
    const turn = failing.then(() => this.#mergeAndFail(attempt));
    failing = turn.catch(() => undefined);
    return turn;
  }

  async #mergeAndFail(attempt: Attempt): Promise<void> {
    const match = { token: String(attempt.token) };
    armFailpoint({ name: 'executor.beforeMergeCommit', action: 'error', match });
    try {
      const merged = await mergeContribution(this.sink.context, this.#input(attempt));
      this.#expect('merge before a crash', merged.result === 'DONE', false);
      this.model.merge(attempt.span, attempt.part, attempt.token, attempt.rows);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('failpoint')) throw error;
    } finally {
      disarmFailpoint('executor.beforeMergeCommit');
    }
  }

  #retraction({ span, part }: Place, token: bigint): Racer {
    this.story.push(`retract ${span.first}/${part} under ${token % 1_000n}`);
    const input = { ...this.#input({ span, part, token, rows: [] }), reason: 'SKIPPED' };
    return {
      run: () => retractContribution(this.sink.context, input),
      expected: (model) => model.retract(span, part, token),
    };
  }

  /** A grant of another epoch, earlier or later, or of another cluster changes nothing. */
  async #refused(): Promise<void> {
    const { grant } = this.sink;
    const kind = this.#pick(3);
    const foreign: SinkGrant =
      kind === 2
        ? { ...grant, clusterId: '0'.repeat(32) }
        : { ...grant, epoch: asToken(grant.epoch + (kind === 0 ? 1n : -1n)) };
    const code = kind === 2 ? 'SINK_OF_OTHER_CLUSTER' : 'SINK_EPOCH';
    try {
      await mergeContribution(this.sink.context, this.#input(this.#newAttempt(), foreign));
    } catch (error) {
      if (!isTidemarkError(error, code)) throw error;
      return;
    }
    throw new Error(`case ${this.seed}: a merge under a foreign grant was accepted`);
  }

  /** Folding up to any span's end stops by itself before what is not settled. */
  #folding(): Racer {
    const ends = this.model.spans.map(({ last }) => ({ window: last, seal: BigInt(last) }));
    const spanEnds = ends.slice(0, 1 + this.#pick(ends.length));
    const { layout, context, grant } = this.sink;
    const upTo = spanEnds.at(-1)?.window ?? 0;
    this.story.push(`fold up to ${upTo}`);
    return {
      run: async () => String(await foldAndSweep(context, { grant, layout, scope: this.#scope(), spanEnds })),
      expected: (model) => String(model.fold(upTo)),
    };
  }

  /** Whatever settled a task has raised the watermark in the same transaction. */
  async #watermark(): Promise<void> {
    const { rows } = await this.sink.engine.use('test', (connection) =>
      connection.query(
        'SELECT last_window, holes, position_text, covers_ms FROM tm_watermark WHERE source_id = ?',
        [this.#source],
      ),
    );
    const { window, holes } = this.model.mark;
    const position = window === 0 ? '' : `at ${window}`;
    this.#expect(
      'watermark',
      show(rows),
      show([[BigInt(window), BigInt(holes), position, BigInt(window) * 1_000n]]),
    );
  }

  async #compare(): Promise<void> {
    const { rows } = await this.sink.engine.use('test', (connection) =>
      connection.query('SELECT name, n, total, mean, low, high FROM sales WHERE case_no = ? ORDER BY name', [
        this.#source,
      ]),
    );
    const cells = this.model.cells().sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    const expected = cells.map((cell) => expectedRow(this.sink.engine.kind, cell));
    this.#expect('report', show(rows), show(expected));
  }

  #expect(what: string, found: unknown, expected: unknown): void {
    if (found === expected) return;
    throw new Error(`case ${this.seed}: ${what} is ${String(found)}, expected ${String(expected)}`);
  }
}

/** MySQL divides decimals exactly and shows four digits more; SQLite divides floats. */
function expectedRow(kind: string, cell: ModelCell): unknown[] {
  const mean = cell.mean === null ? null : quotient(kind, cell.mean);
  return [cell.name, cell.n, cell.total, mean, cell.low, cell.high];
}

function quotient(kind: string, [sum, count]: readonly [bigint, bigint]): unknown {
  if (kind === 'embedded') return Number(sum) / Number(count);
  const scaled = (sum * 100_000n) / count;
  const rounded = (scaled + (scaled < 0n ? -5n : 5n)) / 10n;
  const digits = (rounded < 0n ? -rounded : rounded).toString().padStart(5, '0');
  return `${rounded < 0n ? '-' : ''}${digits.slice(0, -4)}.${digits.slice(-4)}`;
}

function show(rows: readonly (readonly unknown[])[]): string {
  return JSON.stringify(rows, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
}

/** Runs the case of a seed. @throws Error naming the seed, the first difference, and the steps to it. */
export async function runCase(sink: Sink, seed: number): Promise<void> {
  const whole = new Case(sink, seed);
  try {
    await whole.run();
  } catch (error) {
    const { message, story } = await shortest(sink, seed, { message: String(error), story: whole.story });
    throw new Error(`${message}\n  ${story.join('\n  ')}`, { cause: error });
  }
}

interface Failure {
  readonly message: string;
  readonly story: readonly string[];
}

/** Plays the beginnings of a case, on fresh sources, until one of them fails too. */
async function shortest(sink: Sink, seed: number, whole: Failure): Promise<Failure> {
  for (let steps = 1; steps < whole.story.length; steps += 1) {
    shortened += 1;
    const part = new Case(sink, seed, shortened);
    try {
      await part.run(steps);
    } catch (error) {
      return { message: String(error), story: part.story };
    }
  }
  return whole;
}
