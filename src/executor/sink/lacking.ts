/** What a report database lacks of what the cluster knows, once its epoch is set (reconcile.ts). */
import { mutated } from '../../base/index.ts';
import { FOLD_TABLE, KNOWN_TABLE, LEDGER_TABLE } from '../../job/index.ts';
import type { SqlEngine } from '../../sql/index.ts';
import { KNOWN_STATE } from './known-tasks.ts';
import type { Place } from './reconcile-generation.ts';
import type { KnownSink } from './reconcile.ts';
import { checkGrant, scopeParams, type Scope } from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';
import { asBigint } from './values.ts';

/** Keys told in one piece. */
const KEYS_PER_PIECE = 1_000;

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
