/**
 * Checks a job file against its databases and compiles it, without any effect on them (design section 8): the
 * SQL of reports runs on connections that cannot write.
 *
 * Schemas are read from the sources with the account that captures them; every report's SQL runs over an
 * empty range, under the account for registration if there is one, and EXPLAIN tells what it would
 * cost; stores and report databases are reached.
 */
import { existsSync } from 'node:fs';
import {
  checkCost,
  checkReport,
  compileJob,
  parseJobFile,
  type CapturedTable,
  type ColumnSpec,
  type DatabaseRef,
} from '../job/index.ts';
import type { CompiledJob, JobFile, JobSource } from '../job/index.ts';
import { inspectDimension, inspectSource } from '../collector/index.ts';
import { LIMITS, must, mutated, TidemarkError } from '../base/index.ts';
import { Databases, type DatabasesOptions, type GroupWatch } from './databases.ts';

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

/**
 * Validates the text of a job file and returns its compiled form.
 *
 * @throws TidemarkError `JOB_*`, `TOPOLOGY_INVALID`, `SECRET_MISSING`, `TABLE_*`, `COLUMN_TYPE`, `SQL_*`,
 * `MEASURE_TYPE`, `BINLOG_*`, and those of the engines. All but the last kind mean
 * that the file, or what it names, must be changed.
 */
export async function validateJob(
  options: DatabasesOptions,
  watch: GroupWatch,
  jobYaml: string,
): Promise<CompiledJob> {
  const file = parseJobFile(jobYaml);
  // Connections of its own, closed at the end: a job that is refused leaves nothing open.
  const databases = new Databases(options, watch);
  try {
    checkDistinct(databases, file);
    const schemas = await readSchemas(databases, file);
    const job = compileJob({ file, ...schemas });
    await checkReports(databases, file, job);
    await reachAll(databases, job);
    return job;
  } finally {
    await databases.close();
  }
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

interface Schemas {
  readonly tablesOf: (source: JobSource) => readonly CapturedTable[];
  readonly dimensionColumns: (source: JobSource, table: string) => readonly ColumnSpec[];
}

async function readSchemas(databases: Databases, file: JobFile): Promise<Schemas> {
  const captured = new Map<string, readonly CapturedTable[]>();
  const dimensions = new Map<string, readonly ColumnSpec[]>();
  for (const source of file.sources) {
    checkExists(databases, source);
    const engine = databases.engine(source.database);
    captured.set(source.name, await inspectSource(engine, { tables: source.tables }));
  }
  for (const report of file.reports) {
    const source = must(
      file.sources.find((candidate) => candidate.name === report.source),
      'the source of a report',
    );
    for (const input of report.inputs) {
      const key = `${source.name}/${input.table}`;
      if (input.kind !== 'dimension' || dimensions.has(key)) continue;
      dimensions.set(key, await inspectDimension(databases.engine(source.database), input.table));
    }
  }
  return {
    tablesOf: (source) => must(captured.get(source.name), `schemas of source ${source.name}`),
    dimensionColumns: (source, table) =>
      must(dimensions.get(`${source.name}/${table}`), `columns of dimension ${table}`),
  };
}

async function checkReports(databases: Databases, file: JobFile, job: CompiledJob): Promise<void> {
  for (const source of file.sources) await checkRegistration(databases, source);
  for (const report of job.reports) {
    const source = must(
      job.sources.find((candidate) => candidate.name === report.source),
      'the source of a report',
    );
    const engine = databases.engine(registrationOf(file, report.source) ?? source.database);
    const readOnly = !mutated('job.reportMayWrite');
    const connection = await engine.connect({
      purpose: 'validate',
      readOnly,
      selectMs: LIMITS.validateSelectMs,
    });
    try {
      const input = { connection, dialect: engine.dialect, report, tables: source.tables };
      await checkReport(input);
      await checkCost(input);
    } finally {
      await connection.close();
    }
  }
}

function registrationOf(file: JobFile, source: string): DatabaseRef | undefined {
  if (mutated('job.registrationIgnored')) return undefined;
  return file.sources.find(({ name }) => name === source)?.registration;
}

/** What another server, or another schema, says of a report's SQL proves nothing. */
async function checkRegistration(databases: Databases, source: JobSource): Promise<void> {
  if (source.registration === undefined) return;
  const places: string[] = [];
  for (const ref of [source.database, source.registration]) {
    const engine = databases.engine(ref);
    const sql = `SELECT ${engine.dialect.serverIdentity}, DATABASE()`;
    const { rows } = await engine.use('validate', (connection) => connection.query(sql));
    places.push(JSON.stringify(rows[0]));
  }
  if (places[0] === places[1]) return;
  const where = `sources.${source.name}.registration`;
  throw new TidemarkError('JOB_INVALID', `${where} leads to another database than the source`, {
    next: 'Name the same server and schema there, under another account.',
  });
}

/** Opening an embedded source that is not there would make an empty one. */
function checkExists(databases: Databases, source: JobSource): void {
  const address = databases.address(source.database);
  if (address.kind === 'mysql' || existsSync(address.file)) return;
  throw new TidemarkError('DB_UNREACHABLE', `source ${source.name}: there is no file ${address.file}`, {
    next: "Correct its path, which is relative to the executors' base folder.",
  });
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
