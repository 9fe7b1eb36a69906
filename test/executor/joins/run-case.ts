/** Runs a case through the product and compares every contribution with the recomputation. */
import { asToken, must, systemClock } from '../../../src/base/index.ts';
import { createStoreTables } from '../../../src/collector/index.ts';
import { computeContribution, type Computed } from '../../../src/executor/compute/compute.ts';
import { SpanCopies, type CopyOrder, type CopyWork } from '../../../src/executor/compute/span-copies.ts';
import { layoutOf, type ReportLayout } from '../../../src/executor/sink/layout.ts';
import type { Contribution } from '../../../src/executor/sink/merge.ts';
import { advanceStates, createStateTables } from '../../../src/executor/states/index.ts';
import {
  changeTable,
  dimensionTable,
  MARK_TABLE,
  readsStates,
  STATE_MARK_TABLE,
  stateTable,
  type CapturedTable,
  type CompiledSource,
} from '../../../src/job/index.ts';
import type { SqlEngine, SqlParam, SqlValue } from '../../../src/sql/index.ts';
import type { SealedWindow } from '../../../src/wire/index.ts';
import { codeOf } from '../../sql/engine-contract.ts';
import { Random } from '../../support/random.ts';
import { seal, sourceOf, writeWindows, type Change } from '../states/store-shard.ts';
import { addTo, difference, exact, shown, type Amounts } from './amounts.ts';
import { rowOf } from './generate.ts';
import { play, type Played } from './history.ts';
import { COLUMNS, type JoinCase, type Schema } from './join-case.ts';
import { recompute, type Recomputed } from './recompute.ts';
import { compiledReport } from './report-sql.ts';
import { held, holdAll } from '../held.ts';
import { shardOf } from '../shard-of.ts';

const TOKEN = asToken(50_000n << 40n);
const PREPARED = TOKEN + 1n;
const DIMENSION = { columns: ['id', ...COLUMNS], primaryKey: [] } as const;
const DIMENSION_ROWS = 4;

/** The shards of a case lie in one database, as sources of their own. */
const sourceIdOf = (shard: number): number => 1 + shard;
const shardsOf = (schema: Schema): number[] => Array.from({ length: schema.shards }, (_none, at) => at);

function typeOf(column: string, schema: Schema): string {
  if (column === 's') return 'TEXT(8)';
  return column === 'v' && schema.engine === 'mysql' ? 'DECIMAL(8,2)' : 'BIGINT';
}

function columnsOf(names: readonly string[], schema: Schema): CapturedTable['columns'] {
  return names.map((name) => ({ name, type: typeOf(name, schema), nullable: true }));
}

function capturedSource(schema: Schema): CompiledSource {
  const tables = schema.tables.map(({ name, primaryKey, shardKey, columns }): CapturedTable => {
    return { table: name, schemaVersion: 1, columns: columnsOf(columns, schema), primaryKey, shardKey };
  });
  return sourceOf(tables);
}

/** Makes the tables that all cases of a schema use, in an empty database. */
export async function makeTables(engine: SqlEngine, schema: Schema): Promise<void> {
  const { dialect } = engine;
  const source = capturedSource(schema);
  const create = (name: string, columns: CapturedTable['columns'], more = ''): Promise<unknown> => {
    const list = columns.map((column) => `${column.name} ${dialect.columnType(column.type)}`).join(', ');
    return engine.use('test', (connection) => connection.query(`CREATE TABLE ${name} (${more}${list})`));
  };
  const dimension = columnsOf(DIMENSION.columns, schema);
  const random = new Random(schema.seed);
  const rows = Array.from({ length: DIMENSION_ROWS }, () => rowOf(DIMENSION, schema.engine, random));
  const copies = shardsOf(schema).map((shard) =>
    dimensionTable({ sourceId: sourceIdOf(shard), table: 'd', prepared: PREPARED }),
  );
  for (const name of ['base_d', ...copies]) {
    await create(name, dimension);
    await engine.use('test', (connection) => connection.insertRows(name, DIMENSION.columns, rows));
  }
  for (const { table, columns } of source.tables) await create(`base_${table}`, columns, 'moment BIGINT, ');
  for (const shard of shardsOf(schema)) {
    await createStoreTables(engine, sourceIdOf(shard), source);
    await createStateTables(engine, sourceIdOf(shard), source);
  }
}

async function clear(engine: SqlEngine, schema: Schema): Promise<void> {
  const names = schema.tables.flatMap(({ name }) => [
    `base_${name}`,
    ...shardsOf(schema).flatMap((shard) => {
      const at = { sourceId: sourceIdOf(shard), table: name, schemaVersion: 1 };
      return [changeTable(at), stateTable(at)];
    }),
  ]);
  await engine.use('test', async (connection) => {
    await connection.begin('write');
    for (const name of [...names, MARK_TABLE, STATE_MARK_TABLE])
      await connection.query(`DELETE FROM ${name}`);
    await connection.commit();
  });
}

/** @throws Error that shows where a contribution differs from the recomputation. */
export async function runCase(engine: SqlEngine, one: JoinCase): Promise<void> {
  await clear(engine, one.schema);
  const played = play(one);
  const run = new Run(engine, one, played);
  try {
    await run.write();
    const moments = one.begin === 0 ? [0, ...one.spans] : [one.begin, ...one.spans];
    await writeBase(engine, one, played, moments);
    const all = await Promise.all(reportsOf(one).map((report) => expectedOf(engine, report)));
    if (one.begin > 0) {
      const found = await run.span(one.begin, one.begin, true);
      for (const [at, amounts] of found.entries()) compare(one, one.begin, all[at]?.level.get(0), amounts);
    }
    for (const [at, last] of one.spans.entries()) {
      const found = await run.span((moments[at] ?? 0) + 1, last, false);
      for (const [report, amounts] of found.entries()) {
        const { level, ahead } = must(all[report], 'what the report must show');
        compare(one, last, difference(level.get(at + 1), ahead.get(at)), amounts);
      }
    }
  } finally {
    await run.end();
  }
  run.checkCopies();
}

/** The case's report, and another one over the same rows if it has that. */
const reportsOf = (one: JoinCase): JoinCase[] =>
  one.beside === undefined ? [one] : [one, { ...one, branches: [one.beside] }];

async function expectedOf(
  engine: SqlEngine,
  one: JoinCase,
): Promise<Readonly<Record<'level' | 'ahead', Recomputed>>> {
  const level = await recompute(engine, one, 0);
  const readsAhead = one.inputs.some(({ kind }) => kind === 'state');
  return { level, ahead: readsAhead ? await recompute(engine, one, 1) : level };
}

/** Counts the tasks that it served. */
class CountedCopies extends SpanCopies {
  served = 0;

  override async use<T>(order: CopyOrder, work: CopyWork<T>): Promise<T | undefined> {
    const value = await super.use(order, work);
    if (value !== undefined) this.served += 1;
    return value;
  }
}

function compare(one: JoinCase, window: number, expected: Amounts | undefined, found: Amounts): void {
  const want = shown(expected ?? new Map<string, bigint[]>());
  const got = shown(found);
  if (want.join('\n') === got.join('\n')) return;
  const missing = want.filter((line) => !got.includes(line)).map((line) => `- ${line}`);
  const excess = got.filter((line) => !want.includes(line)).map((line) => `+ ${line}`);
  throw new Error(
    [`seed ${one.seed}: the span that ends with window ${window} differs`, ...missing, ...excess].join('\n'),
  );
}

async function writeBase(
  engine: SqlEngine,
  one: JoinCase,
  played: Played,
  moments: readonly number[],
): Promise<void> {
  await engine.use('test', async (connection) => {
    for (const { name, columns } of one.schema.tables) {
      const rows = moments.flatMap((window, moment) =>
        (played.after[window]?.get(name) ?? []).map((row): SqlParam[] => [moment, ...row]),
      );
      if (rows.length > 0) await connection.insertRows(`base_${name}`, ['moment', ...columns], rows);
    }
  });
}

interface Span {
  readonly first: number;
  readonly last: number;
  readonly fromStates: boolean;
}

/** A case on its store shards. */
class Run {
  readonly #engine: SqlEngine;
  readonly #case: JoinCase;
  readonly #source: CompiledSource;
  readonly #layouts: readonly ReportLayout[];
  readonly #warnings: unknown[] = [];
  /** Tasks of a span share its rows, as in an executor. */
  readonly #copies = new CountedCopies(systemClock, { warn: (fields) => this.#warnings.push(fields) });
  /** By shard: the images of each window. */
  readonly #changes: readonly (readonly (readonly Change[])[])[];
  #advanced = 0;

  constructor(engine: SqlEngine, one: JoinCase, played: Played) {
    this.#engine = engine;
    this.#case = one;
    this.#source = capturedSource(one.schema);
    const dimension = columnsOf(DIMENSION.columns, one.schema);
    this.#layouts = reportsOf(one).map((each, at) => {
      const report = compiledReport(each);
      const inputs = report.inputs.map((input) =>
        input.kind === 'dimension' ? { ...input, columns: dimension } : input,
      );
      return layoutOf({ reportId: 1 + at, generation: 1 }, { ...report, inputs });
    });
    this.#changes = shardsOf(one.schema).map((shard) =>
      played.windows.map((changes) => changes.filter((change) => this.#isOn(shard, change))),
    );
  }

  #isOn(shard: number, change: Change): boolean {
    const { tables, shards } = this.#case.schema;
    const shape = tables.find(({ name }) => name === change.table);
    if (shape === undefined || shape.shardKey === null) return true;
    return shardOf(change.row[shape.columns.indexOf(shape.shardKey)] ?? null, shards) === shard;
  }

  async write(): Promise<void> {
    for (const [shard, windows] of this.#changes.entries()) {
      await writeWindows(this.#engine, this.#source, sourceIdOf(shard), windows);
    }
  }

  async end(): Promise<void> {
    await this.#copies.close();
  }

  /** @throws Error if rows could be shared, and were not. */
  checkCopies(): void {
    if (this.#warnings.length > 0)
      throw new Error(`it differs: no copies: ${JSON.stringify(this.#warnings)}`);
    const { engine } = this.#case.schema;
    if (engine === 'embedded' || this.#case.beside === undefined || this.#case.spans.length === 0) return;
    if (this.#copies.served === 0) throw new Error('it differs: no span was computed over copies');
  }

  /** What a span adds, over all shards; of each report. */
  async span(first: number, last: number, fromStates: boolean): Promise<Amounts[]> {
    const layout = must(this.#layouts[0], 'a case has a report');
    const needsStates = fromStates || readsStates(layout.report);
    if (this.#advanced < last && needsStates) {
      const early = await codeOf(this.#compute(layout, 0, { first, last, fromStates }));
      if (early !== 'STATE_BEHIND') throw new Error(`it differs: before the row states are there: ${early}`);
    }
    await this.#advance(last);
    return Promise.all(this.#layouts.map((one) => this.#spanOf(one, { first, last, fromStates })));
  }

  async #spanOf(layout: ReportLayout, span: Span): Promise<Amounts> {
    const found: Amounts = new Map();
    const replicated = layout.report.inputs.every(
      ({ kind, table }) =>
        kind === 'dimension' || this.#source.tables.find((one) => one.table === table)?.shardKey === null,
    );
    for (const shard of replicated ? [0] : shardsOf(this.#case.schema)) {
      const { contribution } = await this.#compute(layout, shard, span);
      collect(layout, found, contribution);
    }
    return found;
  }

  #compute(layout: ReportLayout, shard: number, { first, last, fromStates }: Span): Promise<Computed> {
    return computeContribution({
      store: this.#engine,
      shard: 'main',
      layout,
      source: this.#source,
      captured: (table) => this.#table(table),
      sourceId: sourceIdOf(shard),
      windows: this.#sealed(shard, first, last),
      fromStates,
      timeMs: 60_000,
      prepared: PREPARED,
      marker: `test ${layout.reportId}`,
      formerChains: [],
      gather: holdAll,
      copies: this.#copies,
      signal: new AbortController().signal,
    });
  }

  async #advance(atLeast: number): Promise<void> {
    for (const last of this.#case.advances) {
      if (last <= this.#advanced) continue;
      if (this.#advanced >= atLeast) return;
      for (const shard of shardsOf(this.#case.schema)) {
        await advanceStates(this.#engine, {
          sourceId: sourceIdOf(shard),
          source: this.#source,
          captured: (table) => this.#table(table),
          shard: 'main',
          windows: this.#sealed(shard, this.#advanced + 1, last),
          token: TOKEN,
          marker: 'test',
          formerChains: [],
          signal: new AbortController().signal,
        });
      }
      this.#advanced = last;
    }
  }

  #table(name: string): CapturedTable {
    return must(
      this.#source.tables.find(({ table }) => table === name),
      name,
    );
  }

  #sealed(shard: number, first: number, last: number): SealedWindow[] {
    return Array.from({ length: last - first + 1 }, (_none, at) =>
      seal(this.#source, first + at, { main: this.#changes[shard]?.[first + at - 1]?.length ?? 0 }),
    );
  }
}

function collect(layout: ReportLayout, found: Amounts, contribution: Contribution): void {
  const { additive, multisets } = held(contribution);
  const keys = layout.keys.length;
  for (const row of additive as readonly (readonly SqlValue[])[]) {
    const key = row.slice(0, keys).map(name).join('|');
    addTo(found, `sums ${key}`, row.slice(keys).map(exact), 1n);
  }
  for (const [at, { measure }] of layout.multisets.entries()) {
    for (const row of (multisets[at] ?? []) as readonly (readonly SqlValue[])[]) {
      const member = row
        .slice(0, keys + 1)
        .map(name)
        .join('|');
      addTo(found, `members ${measure} ${member}`, [exact(row[keys + 1] ?? null)], 1n);
    }
  }
}

/** Stored texts are bytes. */
function name(value: SqlValue): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex').toUpperCase();
  return typeof value === 'string' ? String(exact(value)) : String(value);
}
