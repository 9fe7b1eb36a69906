/** Turns a compiled job into the operation that declares it. Documents are opaque to the state machine. */
import { TidemarkError, must, mutated } from '../../base/index.ts';
import {
  capturedTexts,
  cursorText,
  JOB_FORMAT,
  readsStates,
  specHash,
  stableJson,
  type CompiledJob,
  type CompiledReport,
  type CompiledShard,
  type CompiledSource,
} from '../../job/index.ts';
import type { DeclareJob } from '../../statemachine/index.ts';

/** What is declared already, by name. */
export interface Known {
  /** Only a source that is captured already. */
  source(name: string): CompiledSource | undefined;
  /** The same with the tables that wait to be added to it. */
  adding(name: string): CompiledSource | undefined;
  /** How many of its tables such a source had before those that are being copied; 0 if none is. */
  formerTables(name: string): number;
  reportHash(name: string): string | undefined;
  /** The report database of a source. */
  sink(source: string): string | undefined;
}

/**
 * Makes the operation from what an executor compiled. The tables of a source that is captured already stay
 * under their schema versions: its log decides when they change, not this file.
 * @throws TidemarkError `JOB_INVALID`, `JOB_UNSUPPORTED`, `REPORT_COLUMN_YOUNG`, `TABLE_NOT_COPIED`,
 * `FORMAT_UNKNOWN`.
 */
export function declaration(compiledJson: string, known: Known): DeclareJob {
  const job = readCompiledJob(compiledJson);
  for (const report of job.reports) {
    if (known.reportHash(report.name) === specHash(report)) continue;
    checkYoung(report, known.source(report.source));
    checkCopied(report, known);
  }
  return {
    type: 'job.declare',
    v: 1,
    topology: {
      spec: JSON.stringify(job.topology),
      shards: job.topology.shards.map((shard) => ({
        name: shard.name,
        slots: stableJson(shard.slots),
        members: membersOf(shard),
      })),
    },
    sinks: job.sinks.map((sink) => ({
      name: sink.name,
      spec: JSON.stringify(sink),
      members: membersOf(sink),
    })),
    sources: job.sources.map((source) => {
      const adding = mutated('coordinator.waitingTablesAnew') ? undefined : known.adding(source.name);
      const spec = asCaptured(source, adding ?? known.source(source.name));
      const sink = sinkOf(job, source.name, known);
      const begins = spec.tables.map(({ table }) => cursorText({ table, key: [] }));
      const captured = capturedTexts(spec);
      const keptTables = known.source(source.name)?.tables.length ?? 0;
      const kept = JSON.stringify({ ...spec, tables: spec.tables.slice(0, keptTables) });
      const { name } = source;
      return { name, spec: JSON.stringify(spec), captured, begins, keptTables, kept, sink };
    }),
    reports: job.reports.map((report) => ({
      name: report.name,
      spec: JSON.stringify(report),
      specHash: specHash(report),
      source: report.source,
      sink: report.database,
      parts: report.parts,
      readsStates: readsStates(report),
      paused: job.paused.includes(report.name),
    })),
  };
}

/** Rows that are older than a column would be taken out of the report with values that never went in. */
function checkYoung(report: CompiledReport, source: CompiledSource | undefined): void {
  for (const input of report.inputs) {
    if (input.kind === 'dimension') continue;
    const table = source?.tables.find((one) => one.table === input.table);
    const young = table?.young?.find((column) => input.uses?.includes(column) ?? true);
    if (young === undefined || mutated('coordinator.youngColumnRead')) continue;
    throw new TidemarkError(
      'REPORT_COLUMN_YOUNG',
      `report ${report.name} reads ${input.table}.${young}, which is younger than rows captured before`,
      {
        next: 'Leave the column out, or replace the source and its reports by others of other names.',
      },
    );
  }
}

/** Its first contribution is of the row states, which have what is copied; half of a table is no state. */
function checkCopied(report: CompiledReport, known: Known): void {
  const source = known.source(report.source);
  if (source === undefined) return;
  const copied = source.tables.slice(0, known.formerTables(report.source) || undefined);
  for (const { kind, table } of report.inputs) {
    if (kind === 'dimension' || copied.some((one) => one.table === table)) continue;
    if (mutated('coordinator.halfCopiedTableRead')) continue;
    const message = `report ${report.name} reads ${table}, which is not copied yet`;
    throw new TidemarkError('TABLE_NOT_COPIED', message, {
      next: 'Add the table first, and the report when tidemark source list shows the source as running.',
    });
  }
}

function asCaptured(source: CompiledSource, known: CompiledSource | undefined): CompiledSource {
  const tables = source.tables.map((table) => {
    const captured = known?.tables.find((one) => one.table === table.table);
    if (captured === undefined) return table;
    const { columns, young, primaryKey, schemaVersion } = captured;
    const kept = { ...table, columns, primaryKey, schemaVersion };
    return young === undefined ? kept : { ...kept, young };
  });
  return { ...source, tables };
}

/** A group's databases as texts that are equal for equal references, its primary first. */
function membersOf(group: Pick<CompiledShard, 'database' | 'replicas'>): string[] {
  return [group.database, ...group.replicas].map((member) => stableJson(member));
}

/**
 * Reads what an executor compiled; both run the same code, so that anything else is a mistake or another
 * version.
 */
function readCompiledJob(json: string): CompiledJob {
  let job: CompiledJob;
  try {
    job = JSON.parse(json) as CompiledJob;
  } catch (cause) {
    throw new TidemarkError('JOB_INVALID', 'the executor sent a compiled job that is not JSON', { cause });
  }
  if (job.format === JOB_FORMAT) return job;
  throw new TidemarkError('FORMAT_UNKNOWN', `the compiled job has format ${job.format}, not ${JOB_FORMAT}`, {
    next: 'Run the same version of Tidemark on executors and coordinators.',
  });
}

/**
 * A source's tasks share one sink epoch, so that all its reports are in one database. A source without any
 * stays where it was: it did not change when its last report was removed.
 */
function sinkOf(job: CompiledJob, source: string, known: Known): string {
  const names = new Set(
    job.reports.filter((report) => report.source === source).map(({ database }) => database),
  );
  if (names.size > 1) {
    throw new TidemarkError(
      'JOB_UNSUPPORTED',
      `reports on source ${source} are in several databases (${[...names].join(', ')}); one is allowed`,
      { next: 'Put all reports of one source into one database.' },
    );
  }
  const sinks = job.sinks.map((sink) => sink.name);
  const present = mutated('coordinator.emptySourceMoves') ? undefined : known.sink(source);
  const kept = sinks.filter((sink) => sink === present);
  const [name] = [...names, ...kept, ...sinks];
  return must(name, 'a report database in a compiled job');
}
