/**
 * Folding (design 6.8, 6.10): what spans added becomes part of the report for good. Their contributions and
 * ledger rows go, so that neither grows with time; rows that say nothing any more go with them. Holes stay in
 * the ledger: they are what a reader has to know.
 */
import { mutated, TidemarkError } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE, STAGE_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { foldCells } from './cells.ts';
import type { ReportLayout } from './layout.ts';
import { sweepPacks } from './sweep-packs.ts';
import { ledgerParams } from './ledger.ts';
import { checkGrant, SCOPE_WHERE, scopeParams, type Scope, type SinkGrant } from './sink-epoch.ts';
import { repeatable, type SinkContext } from './transaction.ts';
import { asBigint } from './values.ts';
import { bySpan, raiseWatermark, readAfter, type WalkRow } from './watermark.ts';

export interface FoldInput {
  readonly grant: SinkGrant;
  readonly layout: ReportLayout;
  readonly scope: Scope;
  /** Where folding may stop: last windows of spans, in order, with the epochs that they were sealed under. */
  readonly spanEnds: readonly { readonly window: number; readonly seal: bigint }[];
}

/** Ledger rows that one transaction takes away; merges of the report wait for as long. */
const SPANS_PER_TRANSACTION = 32;
/** Of cells, their rows too. */
const SPANS_OF_CELLS = 8;

/**
 * Folds spans, some at a time, as far as they are settled. A span that is neither applied nor a hole, and all
 * behind it, stay as they are. The mark is all that is set here: from then on nobody adds, replaces or
 * retracts anything there, and what the contributions leave is swept afterwards (`sweepOf`). Repeating it is
 * harmless.
 *
 * @returns where the fold mark stands.
 * @throws TidemarkError `SINK_EPOCH`, `SINK_OF_OTHER_CLUSTER`, and those of the engine.
 */
export async function foldSpans(context: SinkContext, input: FoldInput): Promise<number> {
  const { dialect } = context.engine;
  let step = { mark: 0, more: true };
  while (step.more && !context.cancelled()) {
    step = await repeatable(context, purposeOf(input), (connection) => foldSome(connection, dialect, input));
  }
  return step.mark;
}

/**
 * Sweeps what lies at or below the fold mark. Each call takes a piece of bounded size, and answers false when
 * nothing is left. Who does it, how often and when is all the same: the mark is read in the same transaction.
 *
 * @throws TidemarkError those of `foldSpans`.
 */
export function sweepOf(context: SinkContext, input: FoldInput): () => Promise<boolean> {
  const { dialect } = context.engine;
  const { grant, scope, layout } = input;
  return async () => {
    // Those of cells were folded with the mark.
    if (layout.isOfCells) return false;
    const more = await repeatable(context, purposeOf(input), async (connection) => {
      await checkGrant(connection, dialect, grant);
      // The lock keeps merges out, and another fold from taking packs in between.
      const mark = await lockMark(connection, dialect, scope);
      return sweepPacks(connection, dialect, layout, { sourceId: scope.sourceId, mark });
    });
    return more && !mutated('fold.sweepsOnce');
  };
}

const purposeOf = ({ scope }: FoldInput): string => `fold ${scope.reportId}`;

async function foldSome(
  connection: SqlConnection,
  dialect: Dialect,
  input: FoldInput,
): Promise<{ readonly mark: number; readonly more: boolean }> {
  const { scope, layout } = input;
  await checkGrant(connection, dialect, input.grant);
  const from = await lockMark(connection, dialect, scope);
  const end = await settledEnd(connection, input, from);
  if (end === undefined) return { mark: from, more: false };
  // The ledger rows that it would read are about to go.
  await raiseWatermark(connection, dialect, scope, from);
  if (layout.isOfCells) {
    await foldCells(connection, dialect, layout, [scope.sourceId, from + 1, end.window]);
  }
  const folded = `${SCOPE_WHERE} AND first_window BETWEEN ? AND ?`;
  const params = [...scopeParams(scope), from + 1, end.window];
  await connection.query(`DELETE FROM ${LEDGER_TABLE} WHERE ${folded} AND hole = 0`, [
    ...ledgerParams(scope),
    from + 1,
    end.window,
  ]);
  await connection.query(`DELETE FROM ${STAGE_TABLE} WHERE ${folded}`, params);
  await connection.query(`UPDATE ${FOLD_TABLE} SET folded_window = ?, folded_seal = ? WHERE ${SCOPE_WHERE}`, [
    end.window,
    end.seal,
    ...scopeParams(scope),
  ]);
  return { mark: end.window, more: true };
}

/** Every merge and retraction reads this row under a shared lock first: none runs beside this transaction. */
async function lockMark(connection: SqlConnection, dialect: Dialect, scope: Scope): Promise<number> {
  const { rows } = await connection.query(
    `SELECT folded_window FROM ${FOLD_TABLE} WHERE ${SCOPE_WHERE}${dialect.forUpdate}`,
    scopeParams(scope),
  );
  const [row] = rows;
  if (row !== undefined) return Number(asBigint(row[0]));
  throw new TidemarkError('SINK_LOSS', `the report database lacks the fold mark of ${scope.reportId}`);
}

/** The last of the next spans that are settled without a gap; undefined if the next one is not. */
async function settledEnd(
  connection: SqlConnection,
  { scope, spanEnds, layout }: FoldInput,
  from: number,
): Promise<FoldInput['spanEnds'][number] | undefined> {
  const ends = new Map(spanEnds.map((end) => [end.window, end]));
  let found: FoldInput['spanEnds'][number] | undefined;
  const spansMax = layout.isOfCells ? SPANS_OF_CELLS : SPANS_PER_TRANSACTION;
  let mark = from;
  for (const span of bySpan(await readAfter(connection, scope, from)).slice(0, spansMax)) {
    const [first] = span;
    const end = first === undefined ? undefined : ends.get(first.lastWindow);
    if (first?.firstWindow !== mark + 1 || end === undefined) break;
    if (!isSettled(span, first.parts) && !mutated('fold.pastUnsettled')) break;
    found = end;
    mark = end.window;
  }
  return found;
}

const isSettled = (span: readonly WalkRow[], parts: number): boolean =>
  span.length === parts && span.every(({ settled }) => settled);
