/**
 * Names of the tables that Tidemark makes, in one place: the collector writes what the task runner reads,
 * and the merge writes what people read. Ids, generations and tokens in names keep generations apart.
 */

/** In each store shard: the change rows of a captured table under one schema version. */
export const changeTable = (table: { sourceId: number; table: string; schemaVersion: number }): string =>
  `tm_change_${table.sourceId}_${table.table}_v${table.schemaVersion}`;

/** What the names of all change tables of a source begin with. */
export const changeTablePrefix = (sourceId: number): string => `tm_change_${sourceId}_`;

/** In each store shard: one row per (source, epoch, window) once all its change rows are there. */
export const MARK_TABLE = 'tm_mark';

/** In each store shard: the versions of a captured table's rows under one schema version (design 6.6). */
export const stateTable = (table: { sourceId: number; table: string; schemaVersion: number }): string =>
  `${stateTablePrefix(table.sourceId)}${table.table}_v${table.schemaVersion}`;

/** What the names of all tables of a source's row states begin with. */
export const stateTablePrefix = (sourceId: number): string => `tm_state_${sourceId}_`;

/** In each store shard: by source, the last window that its row states hold, and who advanced them. */
export const STATE_MARK_TABLE = 'tm_state_mark';

/** `_to` of a row version that no window has closed: above every window's number. */
export const STATE_OPEN = Number.MAX_SAFE_INTEGER;

/** In each store shard: an immutable copy of a dimension, made under one prepare grant. */
export const dimensionTable = (copy: { sourceId: number; table: string; prepared: bigint }): string =>
  `tm_dimension_${copy.sourceId}_${copy.table}_${copy.prepared}`;

/** In each report database. */
export const SINK_TABLE = 'tm_sink';
export const LEDGER_TABLE = 'tm_ledger';
export const STAGE_TABLE = 'tm_stage';
export const WATERMARK_TABLE = 'tm_watermark';
export const FOLD_TABLE = 'tm_fold';
/** What a cluster knows of the ledger, while the two are compared. */
export const KNOWN_TABLE = 'tm_known';
/** By report name, the prepare grant that its view was made under. */
export const PREPARED_TABLE = 'tm_prepared';

interface Generation {
  readonly reportId: number;
  readonly generation: number;
}

/** The report's own rows: keys, hidden row count, sums and non-null counts. */
export const reportTable = (report: Generation): string =>
  `tm_report_${report.reportId}_${report.generation}`;
/** What each span and part added to the report. */
export const contributionTable = (report: Generation): string =>
  `tm_contribution_${report.reportId}_${report.generation}`;
/** Net weights of the values of a multiset measure, per key. `measure` is its position among the measures. */
export const multisetTable = (report: Generation & { measure: number }): string =>
  `tm_multiset_${report.reportId}_${report.generation}_${report.measure}`;
/**
 * Columns that Tidemark adds to change tables, in primary key order: source, epoch, day, window, ordinal;
 * then the weight.
 */
export const CHANGE_COLUMNS = ['_source', '_epoch', '_day', '_window', '_n', '_w'] as const;

/**
 * Columns of the mark table, in primary key order: source, epoch, window; then number and checksum of its
 * rows.
 */
export const MARK_COLUMNS = ['_source', '_epoch', '_window', '_rows', '_checksum'] as const;
