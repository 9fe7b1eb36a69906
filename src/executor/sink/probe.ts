/**
 * Asks a report database whether it is what the cluster takes it for: its owner, its server, its epoch, and
 * some of what was done there last. A database that was restored in place shows itself by what it lacks
 * alone.
 */
import { mutated, TidemarkError } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE } from '../../job/index.ts';
import type { SqlConnection, SqlEngine, SqlValue } from '../../sql/index.ts';
import { KNOWN_STATE, type KnownTask } from './known-tasks.ts';
import { checkGrant, SCOPE_WHERE, scopeParams, type Scope, type SinkGrant } from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';
import { asBigint } from './values.ts';

export interface Witnesses {
  /** Generations whose tables stood, and how far they were folded at least. */
  readonly folds: readonly (Scope & { readonly folded: number })[];
  /** Finished tasks of them. */
  readonly tasks: readonly KnownTask[];
}

/**
 * Probes a report database.
 * @throws TidemarkError `SINK_OF_OTHER_CLUSTER`, `SINK_SERVER`, `SINK_EPOCH`, `SINK_LOSS`, `TABLE_MISSING`,
 * and those of the engine.
 */
export async function probeSink(engine: SqlEngine, grant: SinkGrant, witnesses: Witnesses): Promise<void> {
  const key = (scope: Scope): string => scopeParams(scope).join('/');
  const tasks = new Map<string, KnownTask[]>();
  for (const task of witnesses.tasks) {
    const known = tasks.get(key(task));
    if (known === undefined) tasks.set(key(task), [task]);
    else known.push(task);
  }
  await engine.use('probe', (connection) =>
    inTransaction(connection, async () => {
      await checkGrant(connection, engine.dialect, grant);
      for (const fold of witnesses.folds) {
        const folded = await checkFold(connection, fold);
        await checkTasks(connection, tasks.get(key(fold)) ?? [], folded);
      }
    }),
  );
}

/** Returns up to where a generation is folded. */
async function checkFold(connection: SqlConnection, scope: Witnesses['folds'][number]): Promise<number> {
  const { rows } = await connection.query(
    `SELECT folded_window FROM ${FOLD_TABLE} WHERE ${SCOPE_WHERE}`,
    scopeParams(scope),
  );
  const [row] = rows;
  const folded = row === undefined ? -1 : Number(asBigint(row[0]));
  if (folded >= scope.folded || (folded >= 0 && mutated('sink.foldLossUnnoticed'))) return folded;
  throw lost(`report ${scope.reportId}/${scope.generation}, or that it was folded to ${scope.folded}`);
}

/** A later version of a task may stand there by now, never an earlier one. */
async function checkTasks(
  connection: SqlConnection,
  tasks: readonly KnownTask[],
  folded: number,
): Promise<void> {
  const behind = tasks.filter(({ firstWindow }) => firstWindow > folded);
  const [first] = behind;
  if (first === undefined) return;
  const { rows } = await connection.query(
    `SELECT first_window, part, applied, hole, floor_token FROM ${LEDGER_TABLE} WHERE ${SCOPE_WHERE} ` +
      `AND (${behind.map(() => '(first_window = ? AND part = ?)').join(' OR ')})`,
    [...scopeParams(first), ...behind.flatMap(({ firstWindow, part }) => [firstWindow, part])],
  );
  const standing = new Map(rows.map((row) => [`${asBigint(row[0])}/${asBigint(row[1])}`, row]));
  for (const task of behind) {
    const row = standing.get(`${task.firstWindow}/${task.part}`);
    if (row !== undefined && stands(task, row)) continue;
    if (mutated('sink.lossUnnoticed')) continue;
    throw lost(`task ${task.reportId}/${task.generation}/${task.firstWindow}/${task.part}`);
  }
}

function stands(task: KnownTask, [, , applied, hole, floor]: readonly SqlValue[]): boolean {
  const isHole = asBigint(hole) === 1n;
  const token = asBigint(isHole ? floor : applied);
  return token > task.token || (token === task.token && (isHole || task.state !== KNOWN_STATE.hole));
}

function lost(what: string): TidemarkError {
  return new TidemarkError('SINK_LOSS', `the report database lacks ${what}, which was committed there`, {
    next: 'Nothing: the leader compares it with the log, and what is lacking is done again.',
  });
}
