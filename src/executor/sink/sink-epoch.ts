/**
 * The sink epoch (design 6.12): one row per report database that says which cluster owns it and under which
 * grant it is written. Every transaction there checks both for equality; what answers under another epoch
 * counts for nothing.
 */
import { mutated, TidemarkError, type FencingToken } from '../../base/index.ts';
import { FOLD_TABLE, SINK_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import { createCommonTables, SINK_FORMAT } from './schema.ts';
import { inTransaction } from './transaction.ts';
import { asBigint, asText } from './values.ts';

/** Under which cluster and epoch a grant was made. */
export interface SinkGrant {
  readonly clusterId: string;
  readonly epoch: FencingToken;
}

/** A report generation's windows of one source: what fold marks and watermarks are kept for. */
export interface Scope {
  readonly reportId: number;
  readonly generation: number;
  readonly sourceId: number;
}

export const scopeParams = (scope: Scope): number[] => [scope.reportId, scope.generation, scope.sourceId];
export const SCOPE_WHERE = 'report_id = ? AND generation = ? AND source_id = ?';

/**
 * Creates the common tables and makes `grant` the epoch of the report database, in one transaction.
 * Repeating it is harmless; a lower epoch than the one that stands is refused.
 *
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH`, `FORMAT_UNKNOWN`, and those of the engine.
 */
export async function prepareSink(engine: SqlEngine, grant: SinkGrant): Promise<void> {
  await createCommonTables(engine);
  await engine.use('prepare', async (connection) => {
    await inTransaction(connection, () => setEpoch(connection, engine.dialect, grant));
  });
}

async function setEpoch(connection: SqlConnection, dialect: Dialect, grant: SinkGrant): Promise<void> {
  const columns = ['id', 'format', 'cluster_id', 'epoch'];
  const insert = { table: SINK_TABLE, columns, source: 'VALUES (1, ?, ?, ?)', key: ['id'] };
  await connection.query(dialect.insertIgnore(insert), [SINK_FORMAT, grant.clusterId, grant.epoch]);
  const { rows } = await connection.query(
    `SELECT format, cluster_id, epoch FROM ${SINK_TABLE} WHERE id = 1${dialect.forUpdate}`,
  );
  const [format, clusterId, epoch] = rows[0] ?? [];
  checkFormat(asBigint(format));
  checkCluster(asText(clusterId), grant);
  const standing = asBigint(epoch);
  if (standing > grant.epoch) throw otherEpoch(standing, grant);
  if (standing < grant.epoch) {
    await connection.query(`UPDATE ${SINK_TABLE} SET epoch = ? WHERE id = 1`, [grant.epoch]);
  }
}

/**
 * Checks the sink epoch alone, under a shared lock.
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH`.
 */
export async function checkGrant(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SinkGrant,
): Promise<void> {
  const { rows } = await connection.query(
    `SELECT cluster_id, epoch FROM ${SINK_TABLE} WHERE id = 1${sharedLock(dialect)}`,
  );
  const [clusterId, epoch] = rows[0] ?? [];
  checkCluster(asText(clusterId), grant);
  checkEpoch(asBigint(epoch), grant);
}

/**
 * Checks the sink epoch and reads the fold mark, both under shared locks, so that neither can change before
 * this transaction ends.
 *
 * @returns the last folded window, 0 if none.
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH`; `DB_FAILED` if the report was never
 * prepared.
 */
export async function checkSink(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SinkGrant,
  scope: Scope,
): Promise<number> {
  const { rows } = await connection.query(
    `SELECT s.cluster_id, s.epoch, f.folded_window FROM ${SINK_TABLE} AS s, ${FOLD_TABLE} AS f ` +
      `WHERE s.id = 1 AND f.report_id = ? AND f.generation = ? AND f.source_id = ?${sharedLock(dialect)}`,
    scopeParams(scope),
  );
  const row = rows[0];
  if (row === undefined) {
    throw new TidemarkError(
      'DB_FAILED',
      `report ${scope.reportId} was never prepared in this report database`,
    );
  }
  checkCluster(asText(row[0]), grant);
  checkEpoch(asBigint(row[1]), grant);
  return Number(asBigint(row[2]));
}

/**
 * Equality, not order: a grant made under a later epoch than the one that stands is as foreign as an
 * earlier one.
 */
function checkEpoch(standing: bigint, grant: SinkGrant): void {
  if (mutated('merge.ignoreSinkEpoch')) return;
  if (mutated('merge.sinkEpochAtLeast') && grant.epoch >= standing) return;
  if (standing !== grant.epoch) throw otherEpoch(standing, grant);
}

function checkCluster(clusterId: string, grant: SinkGrant): void {
  if (clusterId === grant.clusterId) return;
  throw new TidemarkError('SINK_OF_OTHER_CLUSTER', `the report database belongs to cluster ${clusterId}`, {
    next: 'Give this cluster a report database of its own.',
    details: { owner: clusterId, cluster: grant.clusterId },
  });
}

function checkFormat(format: bigint): void {
  if (format === SINK_FORMAT) return;
  throw new TidemarkError('FORMAT_UNKNOWN', `the report database has format ${format}, not ${SINK_FORMAT}`, {
    next: 'Use the version of Tidemark that wrote it, or upgrade.',
  });
}

function otherEpoch(standing: bigint, grant: SinkGrant): TidemarkError {
  const message = `the report database is under sink epoch ${standing}, the grant under ${grant.epoch}`;
  return new TidemarkError('SINK_EPOCH', message, {
    details: { standing: String(standing), granted: String(grant.epoch) },
  });
}

/**
 * MySQL's spelling that MariaDB understands too; a write transaction of the embedded engine is alone
 * anyway.
 */
export function sharedLock(dialect: Dialect): string {
  return dialect.kind === 'mysql' ? ' LOCK IN SHARE MODE' : '';
}
