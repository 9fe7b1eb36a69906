/**
 * Staging: a contribution that is too large for one transaction's memory is written in pieces before it is
 * merged, each in a small transaction of its own. Its rows lie under the token that will merge them; they
 * count only once the ledger says so (decision 0011).
 *
 * Each piece passes the checks of a merge, so that nothing is staged for what is folded, settled or newer.
 * `tm_stage` says of each task whose rows these are: token, attempt, and how many pieces were written.
 */
import { assert, LIMITS, mutated, type FencingToken } from '../../base/index.ts';
import { STAGE_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlParam } from '../../sql/index.ts';
import type { ReportLayout } from './layout.ts';
import { lockLedgerRow, SPAN_WHERE, spanParams, type LedgerSpan } from './ledger.ts';
import {
  insertPacks,
  OWNED,
  ownedBy,
  PACK_ORDER,
  packRows,
  pairsOf,
  type ContributionRows,
} from './packs.ts';
import { checkSink, type SinkGrant } from './sink-epoch.ts';
import { isOf, readStage } from './stage-row.ts';
import { repeatable, type SinkContext } from './transaction.ts';

export interface StagingInput {
  readonly grant: SinkGrant;
  readonly layout: ReportLayout;
  readonly span: LedgerSpan;
  readonly token: FencingToken;
}

/** What one attempt has staged; the merge asks whether it still lies there. */
export interface StagedContribution {
  readonly attempt: bigint;
  readonly pieces: number;
  readonly rows: number;
}

const ATTEMPTS = 2 ** 52;

export class Staging {
  readonly #context: SinkContext;
  readonly #input: StagingInput;
  readonly #attempt: bigint;
  #pieces = 0;
  #packs = 0;
  #rows = 0;

  private constructor(context: SinkContext, input: StagingInput, attempt: bigint) {
    this.#context = context;
    this.#input = input;
    this.#attempt = attempt;
  }

  /**
   * Takes the task's stage over and clears it.
   *
   * @returns undefined if nothing may be staged under this token; the merge then finds out why.
   * @throws TidemarkError as `mergeContribution`.
   */
  static async open(context: SinkContext, input: StagingInput): Promise<Staging | undefined> {
    const attempt = BigInt(Math.floor(context.random() * ATTEMPTS));
    const { dialect } = context.engine;
    const tokens = await repeatable(context, `stage ${input.token}`, async (connection) => {
      if (!(await mayStage(connection, dialect, input))) return undefined;
      const stage = await readStage(connection, input.span);
      if (stage !== undefined && stage.token > input.token) return undefined;
      await takeOver(connection, dialect, input, attempt);
      return [input.token, ...(stage === undefined ? [] : [stage.token])];
    });
    if (tokens === undefined) return undefined;
    if (!mutated('stage.notCleared')) await clearStage(context, input, { attempt, tokens });
    return new Staging(context, input, attempt);
  }

  get staged(): StagedContribution {
    return { attempt: this.#attempt, pieces: this.#pieces, rows: this.#rows };
  }

  /**
   * Writes a piece of the report's own rows (0) or those of its n-th multiset (n). False: not any more.
   * @throws TidemarkError as `mergeContribution`.
   */
  async write(pair: number, rows: ContributionRows): Promise<boolean> {
    const { token, span, layout } = this.#input;
    const { dialect } = this.#context.engine;
    const before = this.#pieces;
    const target = pairsOf(layout)[pair];
    assert(target !== undefined, 'a table of the report');
    const packs = packRows(target, rows);
    const written = await repeatable(this.#context, `stage ${token}`, async (connection) => {
      if (!(await mayStage(connection, dialect, this.#input))) return false;
      const stage = await readStage(connection, span);
      if (!isOf(stage, token, this.#attempt)) return false;
      // The answer to its COMMIT was lost.
      if (stage.pieces === before + 1 && !mutated('stage.pieceTwice')) return true;
      // A server that came back may lack pieces that it had committed: this stage is never whole again.
      const isWhole = stage.pieces === before || mutated('stage.pieceTwice');
      if (!isWhole && !mutated('stage.lostPiecePassed')) return false;
      await insertPacks(connection, layout, { ...span, token }, packs, this.#packs);
      await connection.query(`UPDATE ${STAGE_TABLE} SET pieces = ? WHERE ${SPAN_WHERE}`, [
        before + 1,
        ...spanParams(span),
      ]);
      return true;
    });
    if (!written) return false;
    this.#pieces += 1;
    this.#packs += packs.length;
    this.#rows += rows.length;
    return true;
  }
}

/** Which stage is cleared: whose it is now, and the tokens under which attempts before it have staged. */
interface Cleared {
  readonly attempt: bigint;
  readonly tokens: readonly bigint[];
}

/**
 * Deletes what earlier attempts have staged, unless the stage is another attempt's by now. What has stood is
 * not among it.
 * @throws TidemarkError as `mergeContribution`.
 */
export async function clearStage(
  context: SinkContext,
  { grant, layout, span }: StagingInput,
  { attempt, tokens }: Cleared,
): Promise<void> {
  const { dialect } = context.engine;
  const table = dialect.id(layout.contributionTable);
  const some = `${OWNED} AND token IN (${tokens.map(() => '?').join(', ')}) AND token <> ?`;
  let more = true;
  while (more && !context.cancelled()) {
    more = await repeatable(context, `clear ${span.firstWindow}`, async (connection) => {
      const folded = await checkSink(connection, dialect, grant, span);
      // What is folded is swept by folding.
      if (span.firstWindow <= folded) return false;
      const { applied } = await lockLedgerRow(connection, dialect, span);
      const stage = await readStage(connection, span);
      if (stage?.attempt !== attempt && !mutated('stage.clearsLive')) return false;
      const params = [...ownedBy(span), ...tokens, applied];
      const { changes } = await connection.query(
        dialect.deleteSome({ table, where: some, key: PACK_ORDER, max: LIMITS.packsDeletedAtOnce }),
        params,
      );
      return changes === LIMITS.packsDeletedAtOnce;
    });
  }
}

/**
 * Whether what an attempt staged lies there whole, and ends the stage: from here on it is no stage's. To be
 * called in the merge's transaction, with the ledger row locked.
 */
export async function takeStaged(
  connection: SqlConnection,
  { span, token }: StagingInput,
  { attempt, pieces }: StagedContribution,
): Promise<boolean> {
  const stage = await readStage(connection, span);
  const mine = isOf(stage, token, attempt) && stage.pieces === pieces;
  if (!mine && !mutated('stage.anyAttempt')) return false;
  await connection.query(`DELETE FROM ${STAGE_TABLE} WHERE ${SPAN_WHERE}`, spanParams(span));
  return true;
}

/** The checks of a merge, with the ledger row locked. */
async function mayStage(
  connection: SqlConnection,
  dialect: Dialect,
  { grant, span, token }: StagingInput,
): Promise<boolean> {
  const folded = await checkSink(connection, dialect, grant, span);
  if (span.firstWindow <= folded) return false;
  const { applied, floor } = await lockLedgerRow(connection, dialect, span);
  return (applied !== token && floor <= token) || mutated('stage.notFenced');
}

async function takeOver(
  connection: SqlConnection,
  dialect: Dialect,
  { span, token }: StagingInput,
  attempt: bigint,
): Promise<void> {
  const key = ['report_id', 'generation', 'source_id', 'first_window', 'part'];
  const facts = ['token', 'attempt', 'pieces'];
  const upsert = dialect.upsert({
    table: STAGE_TABLE,
    columns: [...key, ...facts],
    source: `VALUES (?, ?, ?, ?, ?, ?, ?, 0)`,
    key,
    replace: facts,
  });
  const params: SqlParam[] = [...spanParams(span), token, attempt];
  await connection.query(upsert, params);
}
