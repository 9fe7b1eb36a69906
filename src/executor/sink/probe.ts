/**
 * Asks a report database whether it is what the cluster takes it for: its owner, its server, its epoch, and
 * some of what was done there last. A database that was restored in place shows itself by what it lacks
 * alone.
 */
import { mutated, TidemarkError } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE } from '../../job/index.ts';
import type { SqlConnection, SqlEngine } from '../../sql/index.ts';
import { KNOWN_STATE, type KnownTask } from './known-tasks.ts';
import { checkGrant, SCOPE_WHERE, scopeParams, type Scope, type SinkGrant } from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';
import { asBigint } from './values.ts';

export interface Witnesses {
  /** Generations whose tables stood. */
  readonly scopes: readonly Scope[];
  /** Finished tasks. */
  readonly tasks: readonly KnownTask[];
}

/**
 * Probes a report database.
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_SERVER`, `SINK_EPOCH`, `SINK_LOSS`, `TABLE_MISSING`,
 * and those of the engine.
 */
export async function probeSink(engine: SqlEngine, grant: SinkGrant, witnesses: Witnesses): Promise<void> {
  await engine.use('probe', (connection) =>
    inTransaction(connection, async () => {
      await checkGrant(connection, engine.dialect, grant);
      for (const scope of witnesses.scopes) await checkScope(connection, scope);
      for (const task of witnesses.tasks) await checkTask(connection, task);
    }),
  );
}

async function checkScope(connection: SqlConnection, scope: Scope): Promise<void> {
  const { rows } = await connection.query(
    `SELECT folded_window FROM ${FOLD_TABLE} WHERE ${SCOPE_WHERE}`,
    scopeParams(scope),
  );
  if (rows.length === 0) throw lost(`report ${scope.reportId}/${scope.generation}`);
}

/** A later version of the task may stand there by now, never an earlier one. */
async function checkTask(connection: SqlConnection, task: KnownTask): Promise<void> {
  const { rows } = await connection.query(
    `SELECT l.applied, l.hole, l.floor_token, f.folded_window FROM ${FOLD_TABLE} AS f ` +
      `LEFT JOIN ${LEDGER_TABLE} AS l ON l.report_id = f.report_id AND l.generation = f.generation ` +
      'AND l.source_id = f.source_id AND l.first_window = ? AND l.part = ? ' +
      'WHERE f.report_id = ? AND f.generation = ? AND f.source_id = ?',
    [task.firstWindow, task.part, ...scopeParams(task)],
  );
  const what = `task ${task.reportId}/${task.generation}/${task.firstWindow}/${task.part}`;
  const [row] = rows;
  if (row === undefined) throw lost(what);
  const [applied, hole, floor, folded] = row;
  if (asBigint(folded) >= BigInt(task.firstWindow) || mutated('sink.lossUnnoticed')) return;
  const isHole = asBigint(hole ?? 0n) === 1n;
  const standing = asBigint((isHole ? floor : applied) ?? 0n);
  if (standing < task.token || (task.state === KNOWN_STATE.hole && !isHole && standing === task.token)) {
    throw lost(what);
  }
}

function lost(what: string): TidemarkError {
  return new TidemarkError('SINK_LOSS', `the report database lacks ${what}, which was committed there`, {
    next: 'Nothing: the leader compares it with the log, and what is lacking is done again.',
  });
}
