/**
 * Random changes of a shop, in random spans that are merged out of order, again under newer tokens, late
 * under older ones, by two at once, taken back and folded. In the end the report shows what its SQL gives
 * over the tables of the source.
 */
import { asToken, isTidemarkError, must } from '../../../src/base/index.ts';
import { computeContribution } from '../../../src/executor/compute/compute.ts';
import { foldAndSweep } from '../fold-and-sweep.ts';
import { KNOWN_STATE, type KnownTask } from '../../../src/executor/sink/known-tasks.ts';
import type { ReportLayout } from '../../../src/executor/sink/layout.ts';
import type { LedgerSpan } from '../../../src/executor/sink/ledger.ts';
import type { SinkGrant } from '../../../src/executor/sink/sink-epoch.ts';
import { mergeContribution, type Contribution } from '../../../src/executor/sink/merge.ts';
import { retractContribution } from '../../../src/executor/sink/retract.ts';
import { advanceStates } from '../../../src/executor/states/index.ts';
import type { SqlEngine, SqlValue } from '../../../src/sql/index.ts';
import type { SealedWindow } from '../../../src/wire/index.ts';
import { Random } from '../../support/random.ts';
import { holdAll } from '../held.ts';
import { contextOf, TOKEN_BASE } from '../merge-fixture.ts';
import { shardOf } from '../shard-of.ts';
import { EPOCH, seal, writeWindows, type Change, type Row } from '../states/store-shard.ts';
import { clear, layoutFor, setEpoch, SOURCE, SOURCE_ID, sourceOn, type Place } from './place.ts';
import { plainSql, REPORTS, TABLES } from './shop-reports.ts';

const REGIONS = ['n', 's', 'N', 'n '];
/** A text key has one row for names that differ in blanks at their end alone, as the source's own would. */
const TARGETS = ['n', 's', 'N'];
const WINDOWS_MAX = 6;

interface Span {
  readonly first: number;
  readonly last: number;
}

interface Part {
  readonly span: Span;
  readonly part: number;
}

interface Attempt extends Part {
  readonly grant: SinkGrant;
  readonly token: bigint;
  readonly contribution: Contribution;
}

/** @throws Error with seed, report and story where the report shows something else. */
export async function runCase(place: Place, seed: number): Promise<void> {
  const one = new Case(place, seed);
  try {
    await one.run();
  } catch (error) {
    throw new Error(`seed ${seed}, ${one.name}: ${String(error)}\n${one.story.join('\n')}`, { cause: error });
  }
}

class Case {
  readonly name: string;
  readonly story: string[] = [];
  readonly #place: Place;
  readonly #engine: SqlEngine;
  readonly #random: Random;
  readonly #shards: number;
  /** Of one part the rows of all shards are gathered. */
  readonly #parts: number;
  readonly #layout: ReportLayout;
  readonly #rows = new Map(TABLES.map(({ table }) => [table, new Map<string, Row>()]));
  /** By window: the rows of each table after it. */
  readonly #after: ReadonlyMap<string, readonly Row[]>[] = [];
  readonly #windows: readonly (readonly Change[])[];
  readonly #spans: readonly Span[];
  /** By span and part: contributions that were computed under a token, some of them merged. */
  readonly #attempts: Attempt[] = [];
  /** By span and part: the token that was granted last. */
  readonly #granted = new Map<string, bigint>();
  readonly #done = new Set<string>();
  #tokens: bigint;
  #folded = 0;

  constructor(place: Place, seed: number) {
    const { engine } = place;
    this.#place = place;
    const random = new Random(seed);
    this.#engine = engine;
    this.#random = random;
    this.name = random.pick(Object.keys(REPORTS));
    this.#shards = random.once(2) ? 2 : 1;
    this.#tokens = TOKEN_BASE + BigInt(seed) * 10_000n;
    this.#layout = layoutFor(engine, this.name, this.#shards);
    this.#parts = this.#layout.report.parts;
    this.#windows = Array.from({ length: 2 + random.below(WINDOWS_MAX - 1) }, (_none, at) => {
      const changes = Array.from({ length: at === 0 ? 12 : random.below(5) }, () => this.#change()).flat();
      this.#after.push(new Map([...this.#rows].map(([table, rows]) => [table, [...rows.values()]])));
      return changes;
    });
    this.#spans = this.#cut();
  }

  async run(): Promise<void> {
    await this.#prepare();
    const waiting = this.#random.once(2) ? this.#places() : this.#random.shuffled(this.#places());
    for (const place of waiting) {
      await this.#merge(place);
      for (let more = this.#random.below(4); more > 0; more -= 1) {
        await this.#disturb();
        await this.#comparePrefix();
      }
    }
    for (const place of this.#places()) if (!this.#done.has(keyOf(place))) await this.#merge(place);
    await this.#compare();
    await this.#fold(must(this.#spans.at(-1), 'a span').last);
    await this.#compare();
  }

  /** A random change of a random row, as the images that a log holds. */
  #change(): Change[] {
    const random = this.#random;
    const table = random.once(3) ? 'customers' : random.once(5) ? 'targets' : 'orders';
    const rows = must(this.#rows.get(table), table);
    const row = this.#row(table);
    const id = row[0];
    const old = rows.get(String(id));
    const images: Change[] = old === undefined ? [] : [{ table, weight: -1n, row: old }];
    if (old !== undefined && random.once(3)) {
      rows.delete(String(id));
      return images;
    }
    rows.set(String(id), row);
    return [...images, { table, weight: 1n, row }];
  }

  #row(table: string): Row {
    const random = this.#random;
    if (table === 'targets') return [random.pick(TARGETS), BigInt(random.below(40))];
    if (table === 'customers') return [BigInt(1 + random.below(4)), random.pick(REGIONS)];
    const cents = random.once(5) ? null : BigInt(random.below(40));
    return [BigInt(1 + random.below(9)), BigInt(1 + random.below(4)), cents];
  }

  #cut(): Span[] {
    const spans: Span[] = [{ first: 1, last: 1 }];
    for (let first = 2; first <= this.#windows.length;) {
      const last = Math.min(this.#windows.length, first + this.#random.below(3));
      spans.push({ first, last });
      first = last + 1;
    }
    return spans;
  }

  #places(): Part[] {
    return this.#spans.flatMap((span) =>
      Array.from({ length: this.#parts }, (_none, part) => ({ span, part })),
    );
  }

  /** The store of a shard, its name there, and the source that its rows are of. */
  #shard(at: number): { readonly store: SqlEngine; readonly shard: string; readonly sourceId: number } {
    if (this.#parts === this.#shards) return { store: this.#engine, shard: 'main', sourceId: sourceOn(at) };
    const [store, shard] = at === 0 ? [this.#engine, 'main'] : [this.#place.other, 'other'];
    return { store, shard, sourceId: SOURCE_ID };
  }

  #on(part: number): (readonly Change[])[] {
    return this.#windows.map((changes) =>
      changes.filter(({ table, row }) => {
        const { columns, shardKey } = must(
          TABLES.find((one) => one.table === table),
          table,
        );
        const at = columns.findIndex(({ name }) => name === shardKey);
        return shardKey === null || this.#shards === 1 || shardOf(row[at] ?? null, this.#shards) === part;
      }),
    );
  }

  async #prepare(): Promise<void> {
    await clear(this.#place, this.#layout);
    for (let at = 0; at < this.#shards; at += 1) {
      const { store, shard, sourceId } = this.#shard(at);
      await writeWindows(store, SOURCE, sourceId, this.#on(at));
      await advanceStates(store, {
        ...{ sourceId, source: SOURCE, captured: tableOf, shard },
        windows: this.#sealed(at, { first: 1, last: this.#windows.length }),
        ...{
          token: asToken(EPOCH),
          marker: 'test',
          formerChains: [],
          gather: holdAll,
          signal: new AbortController().signal,
        },
      });
    }
    await this.#engine.use('test', async (connection) => {
      for (const { table, columns } of TABLES) {
        const names = ['moment', ...columns.map(({ name }) => name)];
        const rows = this.#after.flatMap((tables, at) =>
          must(tables.get(table), table).map((row) => [at + 1, ...row]),
        );
        if (rows.length > 0) await connection.insertRows(`base_${table}`, names, rows);
      }
    });
  }

  #sealed(part: number, { first, last }: Span): SealedWindow[] {
    const rowsOf = (shard: number, window: number): number => this.#on(shard)[window - 1]?.length ?? 0;
    return Array.from({ length: last - first + 1 }, (_none, at) => {
      const window = first + at;
      const rows =
        this.#parts === this.#shards
          ? { main: rowsOf(part, window) }
          : { main: rowsOf(0, window), other: rowsOf(1, window) };
      return seal(SOURCE, window, rows);
    });
  }

  async #compute(span: Span, part: number): Promise<Contribution> {
    // A first contribution comes from change rows or, behind sealed windows, from the row states.
    const fromStates = span.first === 1 && this.#random.once(2);
    const others = this.#parts === this.#shards ? {} : { others: [this.#shard(1)] };
    const { contribution } = await computeContribution({
      ...{ ...this.#shard(part), ...others, layout: this.#layout, source: SOURCE, captured: tableOf },
      ...{ windows: this.#sealed(part, span), fromStates },
      ...{
        timeMs: 60_000,
        prepared: TOKEN_BASE,
        marker: 'test',
        formerChains: [],
        gather: holdAll,
        signal: new AbortController().signal,
      },
    });
    return contribution;
  }

  async #attempt(place: Part): Promise<Attempt> {
    this.#tokens += 1n;
    const contribution = await this.#compute(place.span, place.part);
    const attempt = { ...place, grant: this.#place.grant, token: this.#tokens, contribution };
    this.#attempts.push(attempt);
    this.#granted.set(keyOf(place), attempt.token);
    return attempt;
  }

  async #merge(place: Part): Promise<void> {
    const attempt = await this.#attempt(place);
    // Two executors may hold one grant.
    const racing = this.#random.once(4) ? [attempt, attempt] : [attempt];
    const results = await Promise.all(racing.map((one) => this.#send(one)));
    for (const result of results) if (result !== 'DONE') throw new Error(`a newest version is ${result}`);
    this.#done.add(keyOf(place));
  }

  async #send({ span, part, grant, token, contribution }: Attempt): Promise<string> {
    const merge = mergeContribution(contextOf(this.#engine), {
      ...{ grant, layout: this.#layout, span: this.#ledgerSpan(span, part) },
      ...{ token: asToken(token), contribution },
    });
    const { result } = await merge.catch((error: unknown) => {
      if (isTidemarkError(error, 'SINK_EPOCH')) return { result: error.code };
      throw error;
    });
    this.story.push(`merge ${span.first}-${span.last}/${part} under ${token - TOKEN_BASE}: ${result}`);
    return result;
  }

  #ledgerSpan({ first, last }: Span, part: number): LedgerSpan {
    return {
      ...{ reportId: this.#layout.reportId, generation: 1, sourceId: SOURCE_ID },
      ...{ firstWindow: first, lastWindow: last },
      ...{ part, parts: this.#parts, coversMs: last, position: String(last) },
    };
  }

  /** What may happen between two merges. */
  async #disturb(): Promise<void> {
    const random = this.#random;
    const open = this.#places().filter(
      ({ span, part }) => span.first > this.#folded && this.#done.has(keyOf({ span, part })),
    );
    const choice = random.below(11);
    if (choice < 2 && this.#attempts.length > 0) {
      const late = random.pick(this.#attempts);
      const [wanted, result] = [this.#refusalOf(late), await this.#send(late)];
      if (result !== wanted) throw new Error(`a late version is ${result}, not ${wanted}`);
    } else if (choice < 4 && open.length > 0) {
      await this.#merge(random.pick(open));
    } else if (choice < 7 && open.length > 0) {
      await this.#retract(random.pick(open));
    } else if (choice === 7) {
      await this.#newEpoch(open);
    } else if (choice > 7) {
      await this.#fold(random.pick(this.#spans).last);
    }
  }

  /** What a version that comes late is told; DONE if it is the one that stands. */
  #refusalOf(late: Attempt): string {
    if (late.grant.epoch !== this.#place.grant.epoch) return 'SINK_EPOCH';
    if (late.span.first <= this.#folded) return 'FOLDED';
    const stands = this.#granted.get(keyOf(late)) === late.token && this.#done.has(keyOf(late));
    return stands ? 'DONE' : 'FENCED';
  }

  async #retract(place: Part): Promise<void> {
    this.#tokens += 1n;
    const span = this.#ledgerSpan(place.span, place.part);
    const token = asToken(this.#tokens);
    const of = { grant: this.#place.grant, layout: this.#layout, span, token, reason: 'test' };
    const result = await retractContribution(contextOf(this.#engine), of);
    if (result !== 'RETRACTED') throw new Error(`a retraction is ${result}`);
    this.story.push(`retract ${place.span.first}-${place.span.last}/${place.part}`);
    this.#granted.set(keyOf(place), token);
    this.#done.delete(keyOf(place));
  }

  /**
   * The report database comes under a fresh epoch. Of the tasks that were merged the cluster does not know
   * one, as after its restore, or knows a later seal of its window.
   */
  async #newEpoch(open: readonly Part[]): Promise<void> {
    this.#tokens += 1n;
    const lost = open.length > 0 && this.#random.once(2) ? this.#random.pick(open) : undefined;
    const resealed = this.#random.once(2);
    const known = this.#places().flatMap((place): KnownTask[] => {
      const token = this.#granted.get(keyOf(place));
      const isLost = lost !== undefined && keyOf(lost) === keyOf(place);
      if (token === undefined || (isLost && !resealed)) return [];
      const { reportId, generation, sourceId, firstWindow, lastWindow } = this.#ledgerSpan(
        place.span,
        place.part,
      );
      return [
        {
          ...{ reportId, generation, sourceId, firstWindow, lastWindow, part: place.part, token },
          state: this.#done.has(keyOf(place)) ? KNOWN_STATE.done : KNOWN_STATE.hole,
          seal: isLost ? token + 1n : 1n,
        },
      ];
    });
    if (lost !== undefined) {
      this.#done.delete(keyOf(lost));
      this.#granted.set(keyOf(lost), this.#tokens);
    }
    await setEpoch(this.#place, this.#tokens, known);
    this.story.push(
      `epoch ${this.#tokens - TOKEN_BASE} without ${lost === undefined ? 'loss' : keyOf(lost)}`,
    );
  }

  /** Only spans whose parts are all merged are settled for the test: a hole is done again in the end. */
  async #fold(last: number): Promise<void> {
    const spanEnds: { window: number; seal: bigint }[] = [];
    for (const span of this.#spans) {
      const parts = this.#places().filter((place) => place.span === span);
      if (span.last > last || !parts.every((place) => this.#done.has(keyOf(place)))) break;
      spanEnds.push({ window: span.last, seal: EPOCH });
    }
    const scope = { reportId: this.#layout.reportId, generation: 1, sourceId: SOURCE_ID };
    const of = { grant: this.#place.grant, layout: this.#layout, scope, spanEnds };
    this.#folded = await foldAndSweep(contextOf(this.#engine), of);
    this.story.push(`folded to ${this.#folded}`);
  }

  /** Where all that stands are the first spans, the report is the state after the last of them. */
  async #comparePrefix(): Promise<void> {
    const isDone = (span: Span): boolean[] =>
      this.#places()
        .filter((place) => place.span === span)
        .map((place) => this.#done.has(keyOf(place)));
    const whole = this.#spans.filter((span) => isDone(span).every((done) => done));
    const begun = this.#spans.filter((span) => isDone(span).some((done) => done));
    const last = whole.at(-1);
    if (last === undefined || begun.length > whole.length || this.#spans.indexOf(last) >= whole.length)
      return;
    await this.#compare(last.last);
  }

  async #compare(window = this.#windows.length): Promise<void> {
    const where = `moment = ${window}`;
    const base = Object.fromEntries(
      TABLES.map(({ table }) => [table, `(SELECT * FROM base_${table} WHERE ${where}) AS b`]),
    );
    const [shown, expected] = await this.#engine.use('test', async (connection) => [
      (await connection.query(`SELECT * FROM ${this.#layout.report.name}`)).rows,
      (await connection.query(plainSql(this.name, base))).rows,
    ]);
    // MySQL groups texts as one that differ in blanks at their end, and shows any of them.
    const text = (value: SqlValue): string =>
      this.#engine.kind === 'mysql' ? String(value).trimEnd() : JSON.stringify(String(value));
    const lines = (rows: readonly (readonly SqlValue[])[] = []): string =>
      rows
        .map((row) => row.map(text).join(' '))
        .sort()
        .join('\n');
    if (lines(shown) === lines(expected)) return;
    throw new Error(
      `after window ${window} the report differs: it shows\n${lines(shown)}\ninstead of\n${lines(expected)}`,
    );
  }
}

const keyOf = ({ span, part }: Part): string => `${span.first}/${part}`;

const tableOf = (name: string): (typeof TABLES)[number] =>
  must(
    TABLES.find(({ table }) => table === name),
    name,
  );
