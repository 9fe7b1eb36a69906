/** The row that says whose rows of a task are being staged (staging.ts). */
import { mutated } from '../../base/index.ts';
import { STAGE_TABLE } from '../../job/index.ts';
import type { SqlConnection } from '../../sql/index.ts';
import { SPAN_WHERE, spanParams, type LedgerSpan } from './ledger.ts';
import { asBigint } from './values.ts';

export interface StageRow {
  readonly token: bigint;
  readonly attempt: bigint;
  readonly pieces: number;
}

/** Reads the stage of a task. The ledger row's lock is the stage's too. */
export async function readStage(connection: SqlConnection, span: LedgerSpan): Promise<StageRow | undefined> {
  const { rows } = await connection.query(
    `SELECT token, attempt, pieces FROM ${STAGE_TABLE} WHERE ${SPAN_WHERE}`,
    spanParams(span),
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  return { token: asBigint(row[0]), attempt: asBigint(row[1]), pieces: Number(asBigint(row[2])) };
}

/** Whether a stage is that of an attempt under a token. */
export function isOf(stage: StageRow | undefined, token: bigint, attempt: bigint): stage is StageRow {
  if (stage === undefined) return false;
  return stage.token === token && (stage.attempt === attempt || mutated('stage.anyAttempt'));
}
