/**
 * Puts what a job file declares and what its databases say together into the documents that are replicated.
 */
import { isTidemarkError, must, TidemarkError } from '../base/index.ts';
import { parseColumnType, type EngineKind } from '../sql/index.ts';
import { compileAffectedKeys } from './affected-keys/compile-affected-keys.ts';
import { checkCoLocation, keysOnShards } from './sql/co-location.ts';
import { columnsUsed } from './sql/columns-used.ts';
import { suggestion } from './file/did-you-mean.ts';
import { shareMembers } from './file/same-members.ts';
import type { JobFile, JobReport, JobSource } from './file/job-file.ts';
import {
  engineOf,
  JOB_FORMAT,
  type AffectedKeys,
  type CapturedTable,
  type CompiledJob,
  type CompiledReport,
  type CompiledSource,
  type ReportInput,
} from './model.ts';

export interface CompileInput {
  readonly file: JobFile;
  /** The schemas that were read from the source, one for each of its tables. */
  readonly tablesOf: (source: JobSource) => readonly CapturedTable[];
}

/**
 * Compiles a job, but for the columns of dimensions: see {@link withDimensions}.
 * @throws TidemarkError `JOB_INVALID` for a shard key that is no column, or none to compare exactly;
 * `REPORT_NOT_COLOCATED` for a join whose rows may lie on different shards, but in class `affectedKeys`.
 */
export function compileJob(input: CompileInput): CompiledJob {
  const { file } = input;
  const sources = file.sources.map((source) => compileSource(source, input.tablesOf(source)));
  return {
    format: JOB_FORMAT,
    name: file.name,
    topology: {
      format: JOB_FORMAT,
      shards: file.stores.map(({ name, database, replicas, slots }) => ({
        name,
        engine: engineOf(database),
        database,
        replicas,
        slots: [slots],
      })),
    },
    sources,
    sinks: file.databases.map(({ name, database, replicas }) => ({
      format: JOB_FORMAT,
      name,
      engine: engineOf(database),
      database,
      replicas,
    })),
    reports: file.reports.map((report) => compileReport(report, sources, input)),
    paused: file.reports.filter(({ paused }) => paused).map(({ name }) => name),
  };
}

function compileSource(source: JobSource, found: readonly CapturedTable[]): CompiledSource {
  const tables = source.tables.map(({ table, shardKey }): CapturedTable => {
    const captured = must(
      found.find((candidate) => candidate.table === table),
      `the schema of ${table}`,
    );
    const placed = shardKey === undefined ? captured : { ...captured, shardKey };
    checkShardKey(source, placed);
    return placed;
  });
  const { name, database, window } = source;
  return { format: JOB_FORMAT, name, engine: engineOf(database), database, tables, window };
}

/** Equal values of the key must have equal bytes: a row would have two shards else. */
function checkShardKey(source: JobSource, { table, shardKey, columns }: CapturedTable): void {
  if (shardKey === null) return;
  const where = `sources.${source.name}.tables.${table}.shardKey`;
  const column = columns.find(({ name }) => name === shardKey);
  if (column === undefined) {
    const names = columns.map(({ name }) => name);
    throw new TidemarkError('JOB_INVALID', `${where}: no column ${shardKey}; ${suggestion(shardKey, names)}`);
  }
  const { kind } = parseColumnType(column.type);
  if (kind !== 'DOUBLE' && kind !== 'FLOAT' && kind !== 'JSON') return;
  throw new TidemarkError('JOB_INVALID', `${where}: ${shardKey} is ${kind}, which is not compared exactly`, {
    next: 'Name another column as its shardKey, or write replicated: true.',
  });
}

function compileReport(
  report: JobReport,
  sources: readonly CompiledSource[],
  { file }: CompileInput,
): CompiledReport {
  const { tables, engine } = must(
    sources.find((candidate) => candidate.name === report.source),
    'the compiled source of a report',
  );
  const inputs = report.inputs.map(({ alias, kind, table }): ReportInput => {
    if (kind === 'dimension') return { alias, kind, table, columns: [] };
    const columns = tableOf(tables, table).columns.map((column) => column.name);
    return { alias, kind, table, uses: columnsUsed(textsOf(report), engine, columns) };
  });
  const keys = report.keys.map(({ name, type }) => ({ name, type, nullable: false }));
  const { name, source, database, sql } = report;
  const shards = isReplicated(report, tables) ? 1 : file.stores.length;
  const affectedKeys = compileAffectedKeys(report, tables);
  // Cells of that class are kept as they are.
  const measures = affectedKeys === undefined ? shareMembers(report.measures, sql, engine) : report.measures;
  if (shards > 1 && affectedKeys === undefined) checkCoLocation(report, tables, engine);
  const gathered =
    shards > 1 && affectedKeys !== undefined && !isOnShards({ report, affectedKeys, tables, engine });
  return {
    ...{ format: JOB_FORMAT, name, source, database, inputs, keys, measures, sql },
    ...(affectedKeys === undefined ? {} : { affectedKeys }),
    ...(gathered ? { gathered } : {}),
    parts: gathered ? 1 : shards,
  };
}

/** Whether each group surely lies on one store shard; what the text does not show is gathered. */
function isOnShards({
  report,
  affectedKeys,
  tables,
  engine,
}: {
  readonly report: JobReport;
  readonly affectedKeys: AffectedKeys;
  readonly tables: readonly CapturedTable[];
  readonly engine: EngineKind;
}): boolean {
  try {
    checkCoLocation(report, tables, engine);
    return keysOnShards(report, affectedKeys, tables, engine);
  } catch (error) {
    if (isTidemarkError(error, 'REPORT_NOT_COLOCATED')) return false;
    throw error;
  }
}

/** All SQL of a report: what may read a column. */
function textsOf({ sql, affectedKeys }: JobReport): string {
  return [sql, ...(affectedKeys?.touched ?? []).map((one) => one.sql)].join('\n');
}

/** Whether every shard has all rows of all inputs: then one shard computes it (design 6.2). */
function isReplicated(report: JobReport, tables: readonly CapturedTable[]): boolean {
  return report.inputs.every(
    ({ kind, table }) => kind === 'dimension' || tableOf(tables, table).shardKey === null,
  );
}

function tableOf(tables: readonly CapturedTable[], name: string): CapturedTable {
  return must(
    tables.find(({ table }) => table === name),
    `the schema of ${name}`,
  );
}
