/**
 * Puts a report database under a fresh epoch (design 6.12): one transaction that sets it, retracts every
 * contribution that the cluster does not stand for, and cuts the watermarks back. What the cluster knows is
 * staged before (known-tasks.ts). After a failover or a restore the database is right again by this and by
 * what the cluster then does anew.
 */
import { mutated, tokenTerm, TidemarkError, asToken, type FencingToken } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE, SINK_TABLE, STAGE_TABLE, WATERMARK_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import { requireKnown, scopeOf, type KnownGeneration } from './known-tasks.ts';
import { emptyTables, missingTables } from './missing-tables.ts';
import { reconcileGeneration } from './reconcile-generation.ts';
import { createCommonTables, SINK_FORMAT } from './schema.ts';
import {
  checkCluster,
  checkFormat,
  otherEpoch,
  SCOPE_WHERE,
  scopeParams,
  type Scope,
  type SinkGrant,
} from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';
import { asBigint, asText } from './values.ts';
import { requireWatermark } from './watermark.ts';

/** What a leader knows of a report database when it grants a fresh epoch. */
export interface KnownSink extends SinkGrant {
  /** Clusters from whose state this one was restored: what was theirs is its own. */
  readonly formerIds: readonly string[];
  readonly generations: readonly KnownGeneration[];
}

/** How far a generation's windows are folded away, and the seal of the last of them. */
export interface FoldMark extends Scope {
  readonly folded: number;
  readonly seal: bigint;
}

export interface SinkContents {
  readonly missing: readonly KnownGeneration[];
  readonly folds: readonly FoldMark[];
}

/**
 * Makes the common tables, and refuses a database that this cluster may not touch, before anything is staged.
 * @throws TidemarkError as {@link setEpoch}.
 */
export async function openSink(engine: SqlEngine, known: KnownSink): Promise<void> {
  await createCommonTables(engine);
  await engine.use('reconcile', (connection) =>
    inTransaction(connection, async () => {
      await lockSink(connection, engine.dialect, known);
    }),
  );
}

/**
 * Sets the epoch, in the one transaction that also retracts what the cluster does not stand for.
 *
 * A dump that is loaded while the cluster goes on may be loaded over an epoch that was set meanwhile: then
 * some tables say what the dump says, others what was done since. The epochs of `tm_sink` and `tm_fold`
 * differ then, and the generation begins with nothing.
 *
 * @returns the generations whose tables are not there, though they were made; and how far the others are
 * folded.
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_EPOCH` (a later try was here), `SINK_AHEAD` (a higher
 * term was), `FORMAT_UNKNOWN`, and those of the engine.
 */
export async function setEpoch(engine: SqlEngine, known: KnownSink, staged: number): Promise<SinkContents> {
  const { dialect } = engine;
  return engine.use('reconcile', (connection) =>
    inTransaction(connection, async () => {
      const standing = await lockSink(connection, dialect, known);
      await requireKnown(connection, known.epoch, staged);
      await connection.query(
        `UPDATE ${SINK_TABLE} SET cluster_id = ?, epoch = ?, server = ${dialect.serverIdentity} WHERE id = 1`,
        [known.clusterId, known.epoch],
      );
      const scopes = await readFolds(connection);
      const key = (scope: Scope): string => scopeParams(scope).join('/');
      const generations = new Map(
        known.generations.map((generation) => [key(scopeOf(generation)), generation]),
      );
      const folds: FoldMark[] = [];
      for (const { epoch, ...scope } of scopes) {
        const generation = generations.get(key(scope));
        if (generation === undefined) {
          await forget(connection, scope);
        } else if (epoch !== standing && !mutated('sink.mixedTaken')) {
          // Of different times; whoever loads a dump has the watermarks come last.
          await requireWatermark(connection, scope);
        } else if (await isWhole(connection, dialect, generation)) {
          await reconcileGeneration(connection, dialect, known.epoch, {
            ...generation,
            folded: scope.folded,
          });
          generations.delete(key(scope));
          folds.push(scope);
        } else {
          await forget(connection, scope);
        }
      }
      // Without its fold mark nobody knows what is in the report for good: it begins with nothing.
      for (const generation of generations.values()) await empty(connection, dialect, generation);
      await connection.query(`UPDATE ${FOLD_TABLE} SET epoch = ?`, [known.epoch]);
      return { missing: [...generations.values()].filter(({ prepared }) => prepared), folds };
    }),
  );
}

async function empty(
  connection: SqlConnection,
  dialect: Dialect,
  generation: KnownGeneration,
): Promise<void> {
  if (mutated('sink.foldMarkLost')) return;
  const { layout } = generation;
  await emptyTables(connection, dialect, layout, await missingTables(connection, dialect, layout));
  await forget(connection, scopeOf(generation));
}

/** False: a table of it is gone; then what is left of it is emptied, for it is made anew as a whole. */
async function isWhole(
  connection: SqlConnection,
  dialect: Dialect,
  { layout }: KnownGeneration,
): Promise<boolean> {
  if (mutated('sink.tablesNotLooked')) return true;
  const missing = await missingTables(connection, dialect, layout);
  if (missing.length === 0) return true;
  await emptyTables(connection, dialect, layout, missing);
  return false;
}

/** Locks the database's row, and checks that the fresh epoch may be set; returns the one that stands. */
async function lockSink(connection: SqlConnection, dialect: Dialect, known: KnownSink): Promise<bigint> {
  const columns = ['id', 'format', 'cluster_id', 'epoch', 'server'];
  const insert = { table: SINK_TABLE, columns, source: "VALUES (1, ?, ?, 0, '')", key: ['id'] };
  await connection.query(dialect.insertIgnore(insert), [SINK_FORMAT, known.clusterId]);
  const { rows } = await connection.query(
    `SELECT format, cluster_id, epoch FROM ${SINK_TABLE} WHERE id = 1${dialect.forUpdate}`,
  );
  const [format, clusterId, epoch] = rows[0] ?? [];
  checkFormat(asBigint(format));
  const owner = asText(clusterId);
  if (!known.formerIds.includes(owner) && !mutated('sink.foreignTaken')) checkCluster(owner, known);
  const tokens = await connection.query(`SELECT MAX(floor_token), MAX(applied) FROM ${LEDGER_TABLE}`);
  const [floor, applied] = tokens.rows[0] ?? [];
  const written = [asBigint(epoch), asBigint(floor ?? 0n), asBigint(applied ?? 0n)];
  checkNotAhead(
    written.reduce((one, other) => (one > other ? one : other)),
    known.epoch,
  );
  return asBigint(epoch);
}

/**
 * Tokens that stand there must all be below the fresh epoch, or what is merged from now on would be fenced.
 */
function checkNotAhead(standing: bigint, epoch: FencingToken): void {
  if (standing < epoch || mutated('sink.higherTermTaken')) return;
  const [theirs, own] = [tokenTerm(asToken(standing)), tokenTerm(epoch)];
  if (theirs <= own) throw otherEpoch(standing, { clusterId: '', epoch });
  throw new TidemarkError(
    'SINK_AHEAD',
    `the report database was written under term ${theirs}, this cluster is at term ${own}`,
    {
      next: `It needs a term above ${theirs}. Restore the cluster from a newer backup, or this database.`,
      details: { neededTerm: String(theirs + 1), term: String(own) },
    },
  );
}

async function readFolds(connection: SqlConnection): Promise<(FoldMark & { epoch: bigint })[]> {
  const columns = 'report_id, generation, source_id, folded_window, folded_seal, epoch';
  const { rows } = await connection.query(`SELECT ${columns} FROM ${FOLD_TABLE}`);
  return rows.map(([reportId, generation, sourceId, folded, seal, epoch]) => ({
    epoch: asBigint(epoch),
    folded: Number(asBigint(folded)),
    seal: asBigint(seal),
    reportId: Number(asBigint(reportId)),
    generation: Number(asBigint(generation)),
    sourceId: Number(asBigint(sourceId)),
  }));
}

/**
 * A generation that the cluster does not know vouches for nothing: its ledger and watermark go. Its tables
 * stay, and nobody is pointed at them any more once the report is declared again.
 */
async function forget(connection: SqlConnection, scope: Scope): Promise<void> {
  for (const table of [LEDGER_TABLE, STAGE_TABLE, WATERMARK_TABLE, FOLD_TABLE]) {
    await connection.query(`DELETE FROM ${table} WHERE ${SCOPE_WHERE}`, scopeParams(scope));
  }
}
