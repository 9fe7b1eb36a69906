/**
 * One generation of a report under a fresh epoch (reconcile.ts): of its ledger only that stays which the
 * cluster stands for.
 */
import { mutated, type FencingToken } from '../../base/index.ts';
import { LEDGER_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import { removeContributions } from './contribution.ts';
import { KNOWN_STATE, LEFT_JOIN_KNOWN, scopeOf, type KnownGeneration } from './known-tasks.ts';
import { SCOPE_WHERE, scopeParams, type Scope } from './sink-epoch.ts';
import { asBigint } from './values.ts';
import { cutWatermark } from './watermark.ts';

/** Spans retracted by one statement. */
const SPANS_PER_STATEMENT = 200;

/** Retracts what the cluster does not stand for, and cuts the watermark back; in the epoch's transaction. */
export async function reconcileGeneration(
  connection: SqlConnection,
  dialect: Dialect,
  epoch: FencingToken,
  generation: KnownGeneration & { readonly folded: number },
): Promise<void> {
  const scope = scopeOf(generation);
  // What is folded is the report's for good, and holes there stay holes.
  const behind = Math.max(generation.keptFrom - 1, generation.folded);
  let after: Place = { firstWindow: behind, part: Number.MAX_SAFE_INTEGER };
  for (;;) {
    const rows = await readUnsupported(connection, epoch, scope, after);
    const last = rows.at(-1);
    if (last === undefined) break;
    const standing = rows.filter(({ applied }) => applied !== 0n);
    if (standing.length > 0) {
      const { sourceId } = scope;
      const owners = standing.map((row) => ({ ...row, sourceId, token: row.applied }));
      await removeContributions(connection, dialect, generation.layout, owners);
    }
    const isKept = (row: UnsupportedRow): boolean => row.known || mutated('sink.unknownRowsKept');
    await raiseFloors(connection, epoch, scope, rows.filter(isKept));
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

/** Where a span's part stands in the order of the ledger. */
export interface Place {
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
