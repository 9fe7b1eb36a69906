/**
 * Reports of class `affectedKeys` (design 6.9): a span contributes, for each key that it touched, the
 * cells as they were after its last window, or a tombstone. What the report shows of a key are the cells
 * of the latest window, whatever the order in which spans are merged; those of earlier ones stay beside it
 * until they are folded, so that a span can be taken back.
 */
import { mutated } from '../../base/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import { answerFor, countRows } from './answer-time.ts';
import type { Exchange } from './contribution.ts';
import { NO_TOKEN, ownedBy, ofOwners, type ContributionOwner, type ContributionRows } from './packs.ts';
import { CONTRIBUTION_KEY, ROW_COUNT, STATE_WINDOW, type ReportLayout } from './layout.ts';

/** A condition on rows of the contribution table under a name. */
interface Condition {
  readonly on: (name: string) => string;
  readonly params: readonly SqlParam[];
}

const keysOf = (layout: ReportLayout): string[] => layout.keys.map((key) => key.column);
const columnsOf = (layout: ReportLayout): string[] => layout.additive.map((sum) => sum.column);

/** The condition that rows under two names are of one key. */
const sameKey = (layout: ReportLayout, one: string, other: string): string =>
  keysOf(layout)
    .map((key) => `${one}.${key} = ${other}.${key}`)
    .join(' AND ');

/** Keeps cells under the owner's token. */
export async function insertCells(
  connection: SqlConnection,
  layout: ReportLayout,
  owner: ContributionOwner,
  rows: ContributionRows,
): Promise<void> {
  if (rows.length === 0) return;
  const prefix = [...ownedBy(owner), owner.token];
  await connection.insertRows(
    layout.contributionTable,
    [...CONTRIBUTION_KEY, ...keysOf(layout), ...columnsOf(layout)],
    rows.map((row) => [...prefix, ...row]),
  );
}

/**
 * Removes the rows of owners whose cells were taken back, all at once: among cells whatever is there counts,
 * standing or not. Of each key a tombstone stays, under no token, for folding to look at.
 */
export async function removeCells(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owners: readonly ContributionOwner[],
): Promise<void> {
  const table = dialect.id(layout.contributionTable);
  const { where, params } = ofOwners(owners);
  const answer = answerFor(await countRows(connection, table, { where, params }));
  if (!mutated('merge.retractedKeysForgotten')) {
    const place = ['source_id', 'first_window', 'part'];
    const kept = [...place, String(NO_TOKEN), ...keysOf(layout)];
    const zeros = layout.additive.map(({ of }) => (of === 'cell' ? 'NULL' : '0'));
    const note = dialect.insertIgnore({
      table: layout.contributionTable,
      columns: [...CONTRIBUTION_KEY, ...keysOf(layout), ...columnsOf(layout)],
      source: `SELECT DISTINCT ${[...kept, ...zeros].join(', ')} FROM ${table} AS c WHERE ${where}`,
      key: [...CONTRIBUTION_KEY, ...keysOf(layout)],
    });
    await connection.query(note, params, answer);
  }
  await connection.query(`DELETE FROM ${table} WHERE ${where}`, params, answer);
}

/**
 * Shows the owner's cells where they are of a later window than those that stand. If the span has contributed
 * before, under another token, those rows are taken back first.
 */
export async function exchangeCells(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  owner: ContributionOwner,
  how: Exchange,
): Promise<void> {
  const { sourceId, firstWindow, part, token } = owner;
  const span: SqlParam[] = [sourceId, firstWindow, part, token];
  const of = (name: string): string =>
    `${name}.source_id = ? AND ${name}.first_window = ? AND ${name}.part = ?`;
  if (how.older !== 0n)
    await takeBack(connection, dialect, layout, {
      on: (name) => `${of(name)} AND ${name}.token <> ?`,
      params: span,
    });
  const columns = [...keysOf(layout), ...columnsOf(layout)];
  const source =
    `SELECT ${columns.map((column) => `c.${column}`).join(', ')} ` +
    `FROM ${dialect.id(layout.contributionTable)} AS c WHERE ${of('c')} AND c.token = ? ` +
    `ORDER BY ${keysOf(layout)
      .map((key) => `c.${key}`)
      .join(', ')}`;
  await connection.query(putLater(dialect, layout, source), span, answerFor(how.rows));
  if (mutated('merge.tombstoneForgotten')) {
    await connection.query(`DELETE FROM ${dialect.id(layout.table)} WHERE ${ROW_COUNT} = 0`);
  }
}

/** Shows the cells of all spans but these, whatever their tokens; their rows are the caller's to remove. */
export async function takeCellsBack(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  sourceId: number,
  spans: readonly { readonly firstWindow: number; readonly part: number }[],
): Promise<void> {
  const params = [sourceId, ...spans.flatMap(({ firstWindow, part }) => [firstWindow, part])];
  const on = (name: string): string => {
    const places = spans.map(() => `(${name}.first_window = ? AND ${name}.part = ?)`);
    return `${name}.source_id = ? AND (${places.join(' OR ')})`;
  };
  await takeBack(connection, dialect, layout, { on, params });
}

/**
 * Shows for each key of the rows that a condition picks the latest cells of all others, or none. First the
 * rows of the report are locked, then the others are read: a merge that was here before is seen, and one
 * that comes after waits.
 */
async function takeBack(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  taken: Condition,
): Promise<void> {
  const keys = keysOf(layout);
  const contributions = dialect.id(layout.contributionTable);
  const table = dialect.id(layout.table);
  const rows = { where: taken.on('t'), params: taken.params };
  const answer = answerFor(await countRows(connection, `${contributions} AS t`, rows));
  const own = keys.map((key) => `t.${key}`).join(', ');
  const touched = `SELECT DISTINCT ${own} FROM ${contributions} AS t WHERE ${taken.on('t')}`;
  const none = `${ROW_COUNT} = 0, ${STATE_WINDOW} = 0`;
  const joined = `(${touched}) AS k STRAIGHT_JOIN ${table} AS r ON ${sameKey(layout, 'k', 'r')}`;
  await connection.query(
    dialect.kind === 'mysql'
      ? `UPDATE ${joined} SET ${none}`
      : `UPDATE ${table} SET ${none} WHERE (${keys.join(', ')}) IN (${touched})`,
    taken.params,
    answer,
  );
  if (mutated('merge.formerCellForgotten')) return;
  const columns = [...keys, ...columnsOf(layout)];
  const later =
    `SELECT 1 FROM ${contributions} AS d WHERE ${sameKey(layout, 'd', 'c')} ` +
    `AND d.${STATE_WINDOW} > c.${STATE_WINDOW} AND NOT (${taken.on('d')})`;
  const source =
    `SELECT ${columns.map((column) => `c.${column}`).join(', ')} FROM (${touched}) AS k ` +
    `JOIN ${contributions} AS c ON ${sameKey(layout, 'c', 'k')} ` +
    `WHERE NOT (${taken.on('c')}) AND NOT EXISTS (${later}) ` +
    `ORDER BY ${keys.map((key) => `c.${key}`).join(', ')}`;
  const params = [...taken.params, ...taken.params, ...taken.params];
  await connection.query(putLater(dialect, layout, source), params, answer);
}

/** Writes rows where their window is not below the one that stands. */
function putLater(dialect: Dialect, layout: ReportLayout, source: string): string {
  const key = keysOf(layout);
  const columns = [...key, ...columnsOf(layout)];
  if (mutated('merge.olderWindowWrites')) {
    return dialect.upsert({ table: layout.table, columns, source, key, replace: columnsOf(layout) });
  }
  return dialect.upsertLater({
    ...{ table: layout.table, columns, source, key },
    replace: columnsOf(layout),
    by: STATE_WINDOW,
  });
}

/**
 * Folds the spans of a range: of each key that they touched only the latest cells below its end are kept,
 * and no tombstone, since nothing older can come any more. `range` is the source, the first and the last
 * window.
 */
export async function foldCells(
  connection: SqlConnection,
  dialect: Dialect,
  layout: ReportLayout,
  range: readonly SqlParam[],
): Promise<void> {
  const keys = keysOf(layout);
  const contributions = dialect.id(layout.contributionTable);
  const table = dialect.id(layout.table);
  const [source, first, last] = [range[0] ?? 0, range[1] ?? 0, range[2] ?? 0];
  const inRange = (name: string): string => `${name}.source_id = ? AND ${name}.first_window BETWEEN ? AND ?`;
  const rows = { where: inRange('t'), params: [source, first, last] };
  const answer = answerFor(await countRows(connection, `${contributions} AS t`, rows));
  const own = keys.map((key) => `t.${key}`).join(', ');
  const isGone = `${inRange('t')} AND t.${ROW_COUNT} = 0`;
  const gone = `SELECT ${own} FROM ${contributions} AS t WHERE ${isGone}`;
  const mysql = dialect.kind === 'mysql';
  const isLater = `d.${STATE_WINDOW} > c.${STATE_WINDOW} AND ${inRange('d')}`;
  const superseded = `${sameKey(layout, 'c', 'd')} AND ${isLater}`;
  const columns = [...CONTRIBUTION_KEY, ...keys];
  // By way of the index over keys from each row of the range: the other way round is quadratic.
  const older =
    `SELECT ${columns.map((column) => `c.${column}`).join(', ')} ` +
    `FROM ${contributions} AS d CROSS JOIN ${contributions} AS c ON ${superseded}`;
  await connection.query(
    mysql
      ? `DELETE c FROM ${contributions} AS d STRAIGHT_JOIN ${contributions} AS c ON ${superseded}`
      : `DELETE FROM ${contributions} WHERE (${columns.join(', ')}) IN (${older})`,
    [source, first, last],
    answer,
  );
  const tombstones = mutated('fold.removesFormerCells') ? '' : ` AND ${ROW_COUNT} = 0`;
  const joined = `(${gone}) AS k STRAIGHT_JOIN ${table} AS r ON ${sameKey(layout, 'k', 'r')}`;
  const isOld = `r.${ROW_COUNT} = 0 AND r.${STATE_WINDOW} <= ?`;
  await connection.query(
    mysql
      ? `DELETE r FROM ${joined} WHERE ${isOld}`
      : `DELETE FROM ${table} AS r WHERE (${keys.join(', ')}) IN (${gone}) AND ${isOld}`,
    [source, first, last, last],
    answer,
  );
  await connection.query(
    `DELETE FROM ${contributions} WHERE ${inRange(contributions)}${tombstones}`,
    [source, first, last],
    answer,
  );
}
