/**
 * Checks a job file against its databases and compiles it, without any effect on them (design section 8): the
 * SQL of reports runs on connections that cannot write.
 *
 * Schemas are read from the sources with the account that captures them; every report's SQL runs over an
 * empty range, under the account for registration if there is one, and EXPLAIN tells what it would
 * cost; stores and report databases are reached.
 *
 * What the file leaves as it is declared is not looked at again: neither a source whose windows are sealed,
 * nor a report over one. So a job can be applied while the server of such a source is away.
 */
import { addedTables, compileJob, isKept, keptSource, parseJobFile } from '../job/index.ts';
import type { CapturedTable, CompiledJob, CompiledReport, CompiledSource, JobFile } from '../job/index.ts';
import { LIMITS, must, mutated, TidemarkError } from '../base/index.ts';
import { Databases, type DatabasesOptions, type GroupWatch } from './databases.ts';
import { Registration } from './registration.ts';

/**
 * Writes a compiled job as it is told to the leader.
 * @throws TidemarkError `JOB_INVALID` for one that would fit no operation of the log.
 */
export function compiledText(job: CompiledJob): string {
  const text = JSON.stringify(job);
  const bytes = Buffer.byteLength(text);
  if (bytes <= LIMITS.opBytesMax || mutated('job.compiledUnbounded')) return text;
  const message = `the compiled job has ${bytes} bytes; at most ${LIMITS.opBytesMax} are declared`;
  throw new TidemarkError('JOB_INVALID', message, { next: 'Shorten the SQL of its reports.' });
}

/** What is declared already, as far as a job may leave it as it is. */
export interface KnownJob {
  /** Those whose windows are sealed. */
  readonly sources: readonly CompiledSource[];
  /** The newest generation of each of their reports. */
  readonly reports: readonly CompiledReport[];
}

/**
 * Validates the text of a job file and returns its compiled form.
 *
 * @throws TidemarkError `JOB_*`, `TOPOLOGY_INVALID`, `REPORT_ON_SEALED_SOURCE`, `SECRET_MISSING`, `TABLE_*`,
 * `COLUMN_TYPE`, `SQL_*`, `MEASURE_TYPE`, `BINLOG_*`, and those of the engines. All but the last kind mean
 * that the file, or what it names, must be changed.
 */
export async function validateJob(
  options: DatabasesOptions,
  watch: GroupWatch,
  jobYaml: string,
  known: KnownJob,
): Promise<CompiledJob> {
  const file = withKept(parseJobFile(jobYaml), known);
  // Connections of its own, closed at the end: a job that is refused leaves nothing open.
  const databases = new Databases(options, watch);
  try {
    checkDistinct(databases, file);
    const registration = new Registration(databases);
    const tables = await readTables(registration, file, known);
    const compiled = compileJob({ file, tablesOf: ({ name }) => must(tables.get(name), name) });
    const job = await settleReports(registration, { file, known }, compiled);
    await reachAll(databases, job);
    return job;
  } finally {
    await databases.close();
  }
}

const namedIn = <T extends { readonly name: string }>(all: readonly T[], name: string): T | undefined =>
  all.find((one) => one.name === name);

function withKept(file: JobFile, known: KnownJob): JobFile {
  const sources = file.sources.map((source) => {
    const captured = namedIn(known.sources, source.name);
    return captured === undefined ? source : keptSource(source, captured);
  });
  return { ...file, sources };
}

/** References that differ may still lead to one database, which then held the rows of several shards. */
function checkDistinct(databases: Databases, file: JobFile): void {
  const seen = new Map<string, string>();
  for (const { name, database, replicas } of file.stores) {
    for (const [at, member] of [database, ...replicas].entries()) {
      const place = at === 0 ? `stores.${name}` : `stores.${name}.replicas.${at - 1}`;
      const address = JSON.stringify(databases.address(member));
      const first = seen.get(address);
      if (first !== undefined) {
        const next = 'Give each shard and each replica a database of its own.';
        throw new TidemarkError('TOPOLOGY_INVALID', `${place} leads to the same database as ${first}`, {
          next,
        });
      }
      seen.set(address, place);
    }
  }
}

/** The captured tables of each source: as they are in the log already, else as its server shows them. */
async function readTables(
  registration: Registration,
  file: JobFile,
  known: KnownJob,
): Promise<ReadonlyMap<string, readonly CapturedTable[]>> {
  const tables = new Map<string, readonly CapturedTable[]>();
  for (const source of file.sources) {
    const captured = mutated('job.sealedSourceInspected') ? undefined : namedIn(known.sources, source.name);
    const wanted = captured === undefined ? source.tables : addedTables(source, captured);
    const found = wanted.length === 0 ? [] : await registration.inspect({ ...source, tables: wanted });
    tables.set(source.name, [...(captured?.tables ?? []), ...found]);
  }
  return tables;
}

/** Reports that are left as they are stay what they were compiled to; the others are asked about. */
async function settleReports(
  registration: Registration,
  { file, known }: { readonly file: JobFile; readonly known: KnownJob },
  job: CompiledJob,
): Promise<CompiledJob> {
  const reports: CompiledReport[] = [];
  for (const report of job.reports) {
    const declared = namedIn(known.reports, report.name);
    if (declared !== undefined && isKept(report, declared) && !mutated('job.keptReportAsked')) {
      reports.push(declared);
      continue;
    }
    const source = must(namedIn(file.sources, report.source), 'the source of a report');
    const { tables } = must(namedIn(job.sources, report.source), 'the compiled source of a report');
    reports.push(await registration.check(source, { report, tables }));
  }
  return { ...job, reports };
}

/**
 * A store or report database that cannot be reached now would only show when the first window waits for it.
 * Embedded ones are made when they are prepared, so that a refused job leaves no file behind.
 */
async function reachAll(databases: Databases, job: CompiledJob): Promise<void> {
  for (const group of [...job.topology.shards, ...job.sinks]) {
    if (group.engine === 'embedded') continue;
    await databases.group(group).use('validate', (connection) => connection.query('SELECT 1'));
  }
}
