/** Runs many cases; the first one that fails is made smaller and shown. */
import type { SqlEngine } from '../../../src/sql/index.ts';
import { generateCase, schemaOf } from './generate.ts';
import type { Engine, JoinCase } from './join-case.ts';
import { reportSql } from './report-sql.ts';
import { makeTables, runCase } from './run-case.ts';

const CASES_PER_SCHEMA = 20;
const SHRINK_TRIES_MAX = 150;

export interface CheckInput {
  readonly engine: Engine;
  /** Opens an empty database. */
  readonly open: () => Promise<SqlEngine>;
  readonly cases: number;
  /** That of the first schema; a case is named by schema and number. */
  readonly seed: number;
  /** Whether a failing case is made smaller before it is shown. */
  readonly shrinks: boolean;
}

/** Databases that are worked on at once: most of the time goes by waiting for them. */
const LANES = 4;

/** @throws Error with seed, SQL and operations of a case that fails. */
export async function checkCases(input: CheckInput): Promise<void> {
  const schemas = Math.ceil(input.cases / CASES_PER_SCHEMA);
  const seeds = Array.from({ length: schemas }, (_none, at) => input.seed + at);
  let failed = false;
  const lane = async (): Promise<void> => {
    for (let seed = seeds.shift(); seed !== undefined && !failed; seed = seeds.shift()) {
      try {
        await checkSchema(input, seed);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(LANES, schemas) }, lane));
  for (const result of lanes) if (result.status === 'rejected') throw result.reason;
}

async function checkSchema({ engine: kind, open, shrinks }: CheckInput, seed: number): Promise<void> {
  const schema = schemaOf(seed, kind);
  const engine = await open();
  await makeTables(engine, schema);
  for (let number = 1; number <= CASES_PER_SCHEMA; number += 1) {
    const one = generateCase(schema, number);
    const failure = await failureOf(engine, one);
    if (failure === undefined) continue;
    throw shrinks ? await shrunk(engine, one, failure) : failure;
  }
}

async function failureOf(engine: SqlEngine, one: JoinCase): Promise<Error | undefined> {
  try {
    await runCase(engine, one);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function shrunk(engine: SqlEngine, failing: JoinCase, first: Error): Promise<Error> {
  let smallest = failing;
  let failure = first;
  let tries = 0;
  for (let found = true; found && tries < SHRINK_TRIES_MAX;) {
    found = false;
    for (const candidate of smaller(smallest)) {
      tries += 1;
      const wrong = tries > SHRINK_TRIES_MAX ? undefined : await failureOf(engine, candidate);
      if (wrong === undefined) continue;
      smallest = candidate;
      failure = wrong;
      found = true;
      break;
    }
  }
  const { schema, inputs, begin, spans, advances, windows } = smallest;
  const json = (value: unknown): string =>
    JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? Number(item) : item));
  const lines = [
    `case ${smallest.seed} of schema --seed ${schema.seed} (${schema.engine}, ${schema.shards} shards)`,
    failure.message,
    reportSql(smallest),
    `inputs ${json(inputs)}`,
    `begin ${begin}, spans ${json(spans)}, advances ${json(advances)}`,
    ...schema.tables.map((table) => json(table)),
    ...windows.map((operations, at) => `window ${at + 1}: ${json(operations)}`),
  ];
  return new Error(lines.join('\n'), { cause: first });
}

function* smaller(one: JoinCase): Generator<JoinCase> {
  const { windows, spans, advances, branches } = one;
  if (branches.length > 1) for (const branch of branches) yield { ...one, branches: [branch] };
  for (const [at, operations] of windows.entries()) {
    if (operations.length > 0) yield { ...one, windows: windows.with(at, []) };
  }
  for (const [at, operations] of windows.entries()) {
    for (const operation of operations) {
      const rest = operations.filter((other) => other !== operation);
      yield { ...one, windows: windows.with(at, rest) };
    }
  }
  for (const cut of spans.slice(0, -1)) yield { ...one, spans: spans.filter((last) => last !== cut) };
  if (advances.length > 1) yield { ...one, advances: advances.slice(-1) };
  for (const [branchAt, branch] of branches.entries()) {
    if (branch.filter !== undefined) {
      yield { ...one, branches: branches.with(branchAt, { ...branch, filter: undefined }) };
    }
  }
  const [first] = branches;
  if (first === undefined || branches.length > 1) return;
  for (const [at] of first.measures.entries()) {
    if (first.measures.length > 1) {
      yield {
        ...one,
        branches: [{ ...first, measures: first.measures.filter((_one, other) => other !== at) }],
      };
    }
  }
}
