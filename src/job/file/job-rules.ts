/**
 * What of a job file no single field can tell: references between its parts, types, and what is not done yet.
 */
import { Findings } from '../findings.ts';
import type { JobFile, JobGroup, JobReport, JobSource, JobStore, JobTable } from './job-file.ts';
import type { RawJob } from './job-schema.ts';
import { engineOf } from '../model.ts';
import type { Path, Places } from './problems.ts';
import { checkReportRules } from '../report-rules.ts';
import { checkTopology, storesOf } from './topology-rules.ts';

/** @throws TidemarkError as {@link Findings} orders them. */
export function checkJob(raw: RawJob, places: Places): JobFile {
  const findings = new Findings();
  const stores = storesOf(raw.stores, findings);
  const databases = Object.entries(raw.databases).map(([name, group]): JobGroup => ({ name, ...group }));
  const sources = Object.entries(raw.sources).map(([name, source]): JobSource => {
    const tables = source.tables.map((entry): JobTable => tableOf(entry));
    checkTables(tables, ['sources', name, 'tables'], findings);
    const { database, window, registration } = source;
    if (registration !== undefined && engineOf(database) === 'embedded') {
      const message = 'a file has no accounts: registration is of a source on MySQL';
      findings.add('JOB_INVALID', ['sources', name, 'registration'], message);
    }
    return { name, database, tables, window, ...(registration === undefined ? {} : { registration }) };
  });
  for (const part of ['sources', 'stores', 'databases', 'reports'] as const) {
    if (Object.keys(raw[part]).length === 0) findings.add('JOB_INVALID', [part], 'at least one is needed');
  }
  checkTopology(stores, databases, findings);
  const parts = { sources, stores, databases };
  const reports = Object.entries(raw.reports).flatMap(([name, report]): JobReport[] => {
    const checked = checkReportRules(name, report, parts, findings);
    return checked === undefined ? [] : [checked];
  });
  checkEngines(sources, stores, findings);
  checkSinks(reports, findings);
  findings.throwFirst(places);
  return { name: raw.job, sources, stores, databases, reports };
}

function tableOf(entry: RawJob['sources'][string]['tables'][number]): JobTable {
  if (typeof entry === 'string') return { table: entry };
  if (entry.replicated === true) return { table: entry.table, shardKey: null };
  return entry.shardKey === undefined
    ? { table: entry.table }
    : { table: entry.table, shardKey: entry.shardKey };
}

function checkTables(tables: readonly JobTable[], path: Path, findings: Findings): void {
  const seen = new Set<string>();
  for (const [index, { table }] of tables.entries()) {
    if (seen.has(table)) findings.add('JOB_INVALID', [...path, index], `${table} is listed twice`);
    seen.add(table);
  }
}

/**
 * The report's SQL runs where its change rows lie, and is checked at the source: both must speak one dialect.
 */
function checkEngines(sources: readonly JobSource[], stores: readonly JobStore[], findings: Findings): void {
  for (const source of sources) {
    for (const store of stores) {
      if (engineOf(source.database) === engineOf(store.database)) continue;
      const engines = `${engineOf(source.database)}, the store ${store.name} ${engineOf(store.database)}`;
      const message = `the source is ${engines}: mixed engines come with a later version`;
      findings.add('JOB_UNSUPPORTED', ['sources', source.name], message);
    }
  }
}

/** A source's tables are prepared under one grant with one sink epoch. */
function checkSinks(reports: readonly JobReport[], findings: Findings): void {
  const sinkOf = new Map<string, string>();
  for (const { name, source, database } of reports) {
    const first = sinkOf.get(source) ?? database;
    sinkOf.set(source, first);
    if (first === database) continue;
    const message = `other reports of ${source} go to ${first}: several databases for one source come later`;
    findings.add('JOB_UNSUPPORTED', ['reports', name, 'database'], message);
  }
}
