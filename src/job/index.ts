/** Job files: their form and rules, the compiled documents, and the SQL that a report becomes. */
export { affectedKeysQuery, nullKeysQuery } from './affected-keys/affected-keys-query.ts';
export { touchedRows, type TouchedRows } from './affected-keys/touched-rows.ts';
export { checkCost } from './check-cost.ts';
export { checkReport, type CheckReportInput } from './check-report.ts';
export { compileJob, type CompileInput } from './compile-job.ts';
export {
  contributionQueries,
  hasMultiset,
  isMultisetMeasure,
  type ContributionQueries,
  type ContributionQuery,
  type OutputColumn,
} from './contribution-queries.ts';
export { isKept, withDimensions } from './kept-report.ts';
export { addedTables, capturedTexts, keptSource } from './kept-source.ts';
export { joinColumns } from './sql/join-columns.ts';
export * from './file/job-file.ts';
export * from './model.ts';
export { parseJobFile } from './file/parse-job-file.ts';
export { readsStates } from './reads-states.ts';
export { readRows, touchesNull } from './read-rows.ts';
export { cursorText, readCursor } from './snapshot-cursor.ts';
export { specHash, stableJson } from './report-hash.ts';
export { resolveDatabase, type ResolveOptions } from './file/resolve-database.ts';
export { inWindows, type ContributionInput, type WindowRef } from './stored-inputs.ts';
export * from './table-names.ts';
