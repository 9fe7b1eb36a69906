/**
 * The sink epoch (design 6.12): one row per report database that says which cluster owns it and under which
 * grant it is written. Every transaction there checks both for equality; what answers under another epoch
 * counts for nothing.
 */
import { mutated, TidemarkError, type FencingToken } from '../../base/index.ts';
import { FOLD_TABLE, SINK_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlValue } from '../../sql/index.ts';
import { SINK_FORMAT } from './schema.ts';
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

export const scopeParams = ({ reportId, generation, sourceId }: Scope): number[] => [
  reportId,
  generation,
  sourceId,
];
export const SCOPE_WHERE = 'report_id = ? AND generation = ? AND source_id = ?';

/**
 * Checks the sink epoch alone, under a shared lock.
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH`.
 */
export async function checkGrant(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SinkGrant,
): Promise<void> {
  await checkStanding(connection, dialect, grant, sharedLock(dialect));
}

/**
 * The same without a lock, for a snapshot.
 * @throws TidemarkError as {@link checkGrant}; `SINK_LOSS` where there is no epoch.
 */
export async function checkStanding(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SinkGrant,
  lock = '',
): Promise<void> {
  const { rows } = await connection.query(
    `SELECT ${ROW(dialect)} FROM ${SINK_TABLE} AS s WHERE s.id = 1${lock}`,
  );
  const [row] = rows;
  if (row === undefined) throw new TidemarkError('SINK_LOSS', 'the report database has lost its epoch');
  checkRow(row, grant);
}

/**
 * Checks the sink epoch and reads the fold mark, both under shared locks, so that neither can change before
 * this transaction ends.
 *
 * @returns the last folded window, 0 if none.
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH`; `SINK_LOSS` if the report is not there.
 */
export async function checkSink(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SinkGrant,
  scope: Scope,
): Promise<number> {
  const { rows } = await connection.query(
    `SELECT ${ROW(dialect)}, f.folded_window, f.epoch FROM ${SINK_TABLE} AS s, ${FOLD_TABLE} AS f ` +
      `WHERE s.id = 1 AND f.report_id = ? AND f.generation = ? AND f.source_id = ?${sharedLock(dialect)}`,
    scopeParams(scope),
  );
  const row = rows[0];
  if (row === undefined) {
    throw new TidemarkError(
      'SINK_LOSS',
      `the report database lacks report ${scope.reportId}, which was made`,
    );
  }
  checkRow(row, grant);
  if (!mutated('sink.foldOfOtherEpoch')) checkEpoch(asBigint(row[5]), grant);
  return Number(asBigint(row[4]));
}

/** Owner, epoch, the server on which it was set, and the server that answers now. */
const ROW = (dialect: Dialect): string => `s.cluster_id, s.epoch, s.server, ${dialect.serverIdentity}`;

function checkRow(row: readonly SqlValue[], grant: SinkGrant): void {
  const [clusterId, epoch, setOn, server] = row;
  checkCluster(asText(clusterId), grant);
  checkServer(asText(setOn), asText(server));
  checkEpoch(asBigint(epoch), grant);
}

/**
 * An epoch is set at most once on a server: a promoted replica has its row, but maybe not all that came
 * after.
 */
function checkServer(setOn: string, server: string): void {
  if (setOn === server || mutated('sink.serverIgnored')) return;
  throw new TidemarkError('SINK_SERVER', 'the report database is not on the server where its epoch was set', {
    next: 'Nothing: the leader compares it with the log, and goes on.',
  });
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

/** @throws TidemarkError `SINK_OF_OTHER_CLUSTER`. */
export function checkCluster(clusterId: string, grant: Pick<SinkGrant, 'clusterId'>): void {
  if (clusterId === grant.clusterId) return;
  throw new TidemarkError('SINK_OF_OTHER_CLUSTER', `the report database belongs to cluster ${clusterId}`, {
    next: 'Give this cluster a report database of its own.',
    details: { owner: clusterId, cluster: grant.clusterId },
  });
}

/** @throws TidemarkError `FORMAT_UNKNOWN`. */
export function checkFormat(format: bigint): void {
  if (format === SINK_FORMAT) return;
  throw new TidemarkError('FORMAT_UNKNOWN', `the report database has format ${format}, not ${SINK_FORMAT}`, {
    next: 'Use the version of Tidemark that wrote it, or upgrade.',
  });
}

export function otherEpoch(standing: bigint, grant: SinkGrant): TidemarkError {
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
