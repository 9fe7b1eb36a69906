/**
 * Writes the sample's job file: the very YAML that `tidemark apply -f` takes, with comments for its reader.
 */
import { Document } from 'yaml';
import { SAMPLE_REPORTS } from './reports.ts';
import { CAPTURED_TABLES } from './schema.ts';

/** How each of the sample's databases is named in the file. */
export interface SampleDatabases {
  readonly source: unknown;
  readonly store: unknown;
  readonly reports: unknown;
}

export const SAMPLE_WINDOW_MS = 1_000;

export function sampleJobFile(databases: SampleDatabases): string {
  const document = new Document({
    version: 1,
    job: 'sample',
    sources: {
      shop: {
        ...(databases.source as object),
        tables: [...CAPTURED_TABLES],
        window: { lengthMs: SAMPLE_WINDOW_MS },
      },
    },
    stores: { shard1: databases.store },
    databases: { reports: databases.reports },
    reports: Object.fromEntries(
      SAMPLE_REPORTS.map(({ name, inputs, keys, measures, sql }) => [
        name,
        { source: 'shop', database: 'reports', inputs, keys, measures, sql: `${sql}\n` },
      ]),
    ),
  });
  document.commentBefore =
    ' The sample of `tidemark dev`, as it was applied. docs/reference/job-file.md describes the form.';
  return document.toString({ lineWidth: 0 });
}
