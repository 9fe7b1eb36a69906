/**
 * Puts a report database under a fresh epoch (design 6.12): one transaction that sets it, retracts every
 * contribution that the cluster does not stand for, and cuts the watermarks back. What the cluster knows is
 * staged before (known-tasks.ts). After a failover or a restore the database is right again by this and by
 * what the cluster then does anew.
 */
import { mutated, tokenTerm, TidemarkError, asToken, type FencingToken } from '../../base/index.ts';
import {
  FOLD_TABLE,
  KNOWN_TABLE,
  LEDGER_TABLE,
  SINK_TABLE,
  STAGE_TABLE,
  WATERMARK_TABLE,
} from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine, SqlParam } from '../../sql/index.ts';
import { removeContributions } from './contribution-removal.ts';
import { KNOWN_STATE, LEFT_JOIN_KNOWN, requireKnown, type KnownGeneration } from './known-tasks.ts';
import { emptyTables, missingTables } from './missing-tables.ts';
import { createCommonTables, SINK_FORMAT } from './schema.ts';
import {
  checkCluster,
  checkFormat,
  checkGrant,
  otherEpoch,
  SCOPE_WHERE,
  scopeParams,
  type Scope,
  type SinkGrant,
} from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';
import { asBigint, asText } from './values.ts';
import { cutWatermark, requireWatermark } from './watermark.ts';

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

/** Spans retracted by one statement, and keys told in one piece. */
const SPANS_PER_STATEMENT = 200;
const KEYS_PER_PIECE = 1_000;

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
          await reconcileGeneration(connection, dialect, known, { ...generation, folded: scope.folded });
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

const scopeOf = ({ layout, sourceId }: KnownGeneration): Scope => ({
  reportId: layout.reportId,
  generation: layout.generation,
  sourceId,
});

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

async function reconcileGeneration(
  connection: SqlConnection,
  dialect: Dialect,
  known: KnownSink,
  generation: KnownGeneration & { readonly folded: number },
): Promise<void> {
  const scope = scopeOf(generation);
  // What is folded is the report's for good, and holes there stay holes.
  const behind = Math.max(generation.keptFrom - 1, generation.folded);
  let after: Place = { firstWindow: behind, part: Number.MAX_SAFE_INTEGER };
  for (;;) {
    const rows = await readUnsupported(connection, known.epoch, scope, after);
    const last = rows.at(-1);
    if (last === undefined) break;
    const standing = rows.filter(({ applied }) => applied !== 0n);
    if (standing.length > 0) {
      const { sourceId } = scope;
      const owners = standing.map((row) => ({ ...row, sourceId, token: row.applied }));
      await removeContributions(connection, dialect, generation.layout, owners);
    }
    const isKept = (row: UnsupportedRow): boolean => row.known || mutated('sink.unknownRowsKept');
    await raiseFloors(connection, known.epoch, scope, rows.filter(isKept));
    await deleteRows(
      connection,
      scope,
      rows.filter((row) => !isKept(row)),
    );
    after = last;
  }
  if (mutated('sink.watermarkKept')) return;
  await cutWatermark(connection, dialect, scope);
}

interface Place {
  readonly firstWindow: number;
  readonly part: number;
}

interface UnsupportedRow extends Place {
  readonly applied: bigint;
  /** The cluster knows a task of that key. */
  readonly known: boolean;
}

/** Ledger rows behind a place that the cluster does not stand for, in order. */
async function readUnsupported(
  connection: SqlConnection,
  run: bigint,
  scope: Scope,
  after: Place,
): Promise<UnsupportedRow[]> {
  const where = 'l.report_id = ? AND l.generation = ? AND l.source_id = ?';
  const { rows } = await connection.query(
    'SELECT l.first_window, l.part, l.applied, k.token ' +
      `FROM ${LEDGER_TABLE} AS l ${LEFT_JOIN_KNOWN} WHERE ${where} ` +
      `AND (l.first_window > ? OR (l.first_window = ? AND l.part > ?)) AND NOT (${supported()}) ` +
      `ORDER BY l.first_window, l.part LIMIT ${SPANS_PER_STATEMENT}`,
    [run, ...scopeParams(scope), after.firstWindow, after.firstWindow, after.part],
  );
  return rows.map(([firstWindow, part, applied, token]) => ({
    firstWindow: Number(asBigint(firstWindow)),
    part: Number(asBigint(part)),
    applied: asBigint(applied),
    known: token !== null,
  }));
}

/**
 * What the cluster stands for: spans and grants that it knows, contributions of tasks that are no holes, from
 * no earlier than the seal of each of their windows, and holes of tasks that are.
 */
function supported(): string {
  const isHole = `k.state IN (${KNOWN_STATE.leaving}, ${KNOWN_STATE.hole})`;
  const clauses = [`(l.hole = 0 OR ${isHole})`];
  if (!mutated('sink.keepsUnknown')) {
    clauses.push('k.last_window = l.last_window', 'l.applied <= k.token', 'l.floor_token <= k.token');
  }
  if (!mutated('sink.keepsSkipped')) clauses.push(`(l.applied = 0 OR NOT ${isHole})`);
  if (!mutated('sink.keepsBelowSeal')) clauses.push('(l.applied = 0 OR l.applied >= k.seal)');
  const known = `(k.token IS NOT NULL AND ${clauses.join(' AND ')})`;
  return mutated('sink.keepsUnknown') ? `(k.token IS NULL OR ${known})` : known;
}

/** Nothing stands there any more, and what was granted before the epoch is fenced. */
async function raiseFloors(
  connection: SqlConnection,
  epoch: FencingToken,
  scope: Scope,
  places: readonly Place[],
): Promise<void> {
  if (places.length === 0) return;
  const floor = mutated('sink.floorNotRaised')
    ? 'floor_token = floor_token + 0 * ?'
    : 'floor_token = CASE WHEN floor_token < ? THEN ? ELSE floor_token END';
  const tokens: SqlParam[] = mutated('sink.floorNotRaised') ? [epoch] : [epoch, epoch];
  await connection.query(
    `UPDATE ${LEDGER_TABLE} SET applied = 0, merged_rows = 0, hole = 0, reason = '', ${floor} ` +
      `WHERE ${SCOPE_WHERE} ` +
      `AND (${anyOf(places)})`,
    [...tokens, ...scopeParams(scope), ...placeParams(places)],
  );
}

/**
 * A restored cluster may cut other spans than its former self: what is left of a span that it will never have
 * would stand in the way of the watermark. Nothing can fill the row any more: every grant before the epoch is
 * refused by the epoch.
 */
async function deleteRows(connection: SqlConnection, scope: Scope, places: readonly Place[]): Promise<void> {
  if (places.length === 0) return;
  await connection.query(`DELETE FROM ${LEDGER_TABLE} WHERE ${SCOPE_WHERE} AND (${anyOf(places)})`, [
    ...scopeParams(scope),
    ...placeParams(places),
  ]);
}

const anyOf = (places: readonly Place[]): string =>
  places.map(() => '(first_window = ? AND part = ?)').join(' OR ');
const placeParams = (places: readonly Place[]): number[] =>
  places.flatMap(({ firstWindow, part }) => [firstWindow, part]);

/**
 * Keys of finished tasks that the report database lacks, piece by piece. Nothing is granted meanwhile, so
 * nothing changes between the pieces.
 *
 * @throws TidemarkError `SINK_EPOCH` and those of {@link checkGrant} if another epoch was set.
 */
export async function* readLacking(engine: SqlEngine, known: KnownSink): AsyncGenerator<string[], void> {
  for (const { layout, sourceId, keptFrom } of known.generations) {
    const { reportId, generation } = layout;
    let after: Place = { firstWindow: keptFrom - 1, part: Number.MAX_SAFE_INTEGER };
    for (;;) {
      const places = await lackingBehind(engine, known, { reportId, generation, sourceId }, after);
      const last = places.at(-1);
      if (last === undefined) break;
      yield places.map(({ firstWindow, part }) => `${reportId}/${generation}/${firstWindow}/${part}`);
      after = last;
    }
  }
}

async function lackingBehind(
  engine: SqlEngine,
  known: KnownSink,
  scope: Scope,
  after: Place,
): Promise<Place[]> {
  const done = mutated('sink.doneNotCompared')
    ? '1 = 0'
    : `k.state = ${KNOWN_STATE.done} AND COALESCE(l.applied, 0) <> k.token`;
  const hole = mutated('sink.holesNotCompared')
    ? '1 = 0'
    : `k.state = ${KNOWN_STATE.hole} AND COALESCE(l.hole, 0) <> 1`;
  const join = (table: string, name: string): string =>
    `LEFT JOIN ${table} AS ${name} ON ${name}.report_id = k.report_id ` +
    `AND ${name}.generation = k.generation AND ${name}.source_id = k.source_id`;
  return engine.use('reconcile', (connection) =>
    inTransaction(connection, async () => {
      await checkGrant(connection, engine.dialect, known);
      const { rows } = await connection.query(
        `SELECT k.first_window, k.part FROM ${KNOWN_TABLE} AS k ${join(LEDGER_TABLE, 'l')} ` +
          `AND l.first_window = k.first_window AND l.part = k.part ${join(FOLD_TABLE, 'f')} ` +
          'WHERE k.run = ? AND k.report_id = ? AND k.generation = ? AND k.source_id = ? ' +
          'AND (k.first_window > ? OR (k.first_window = ? AND k.part > ?)) ' +
          `AND k.first_window > COALESCE(f.folded_window, 0) AND ((${done}) OR (${hole})) ` +
          `ORDER BY k.first_window, k.part LIMIT ${KEYS_PER_PIECE}`,
        [known.epoch, ...scopeParams(scope), after.firstWindow, after.firstWindow, after.part],
      );
      return rows.map(([firstWindow, part]) => ({
        firstWindow: Number(asBigint(firstWindow)),
        part: Number(asBigint(part)),
      }));
    }),
  );
}
