/**
 * Advances the row states of one store shard by sealed windows (design 6.6), in one transaction on its
 * primary that checks who may do it and that no window is left out.
 */
import { failpoint, must, mutated, TidemarkError, type FencingToken } from '../../base/index.ts';
import { STATE_MARK_TABLE, type CapturedTable, type CompiledSource } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import type { FormerChain, SealedWindow } from '../../wire/index.ts';
import { checkComplete } from '../compute/completeness.ts';
import { withMarker } from '../marker.ts';
import { inTransaction } from '../sink/transaction.ts';
import { advanceStatements } from './advance-sql.ts';
import { carryStates } from './carry.ts';
import { copyJoinIndexes } from './join-indexes.ts';
import { rewind } from './rewind.ts';
import { lockStateMark, type StateMark } from './state-mark.ts';
import { stateTableSql } from './state-tables.ts';
import { analyze, outgrown } from './statistics.ts';

export interface AdvanceInput {
  readonly sourceId: number;
  readonly source: CompiledSource;
  /** A captured table under a schema version that a window names. */
  readonly captured: (table: string, version: number) => CapturedTable;
  /** The store shard's name in the topology. */
  readonly shard: string;
  /** Adjacent sealed windows, in their order. */
  readonly windows: readonly SealedWindow[];
  /** The token of the grant: an older one is fenced from here on. */
  readonly token: FencingToken;
  /** Makes the connection findable at the server (marker.ts). */
  readonly marker: string;
  readonly signal: AbortSignal;
  /** What the cluster was restored from: what the shard holds of those chains alone is taken back. */
  readonly formerChains: readonly FormerChain[];
}

/** The last window that the shard's row states hold now, and change rows read for it. */
export interface Advanced {
  readonly window: number;
  readonly rows: number;
}

/**
 * Advances the row states of a source on the shard that `engine` leads to. Windows that they hold already are
 * passed over, so that it may be repeated after any error, `DB_OUTCOME_UNKNOWN` included.
 *
 * @throws TidemarkError `STATE_FENCED`; `STATE_GAP` with the last window held as detail `mark`;
 * `HISTORY_DROPPED` where they cannot be taken back; `WINDOW_INCOMPLETE`, and those of the engine. Nothing
 * was changed then, except after `DB_OUTCOME_UNKNOWN`.
 */
export async function advanceStates(engine: SqlEngine, input: AdvanceInput): Promise<Advanced> {
  return engine.use(
    `states ${input.source.name}`,
    (connection) =>
      withMarker(engine, connection, input.marker, async () => {
        // On MySQL a CREATE ends the transaction that it stands in.
        await createVersions(connection, engine.dialect, input);
        const runs = input.source.tables.flatMap(({ table }) => versionRuns(input, table, input.windows));
        const tables = await outgrown(connection, engine.dialect, input.sourceId, runs);
        const advanced = await inTransaction(connection, () => advanceIn(connection, engine.dialect, input));
        await analyze(connection, tables);
        return advanced;
      }),
    input.signal,
  );
}

async function advanceIn(
  connection: SqlConnection,
  dialect: Dialect,
  input: AdvanceInput,
): Promise<Advanced> {
  const { sourceId, token, formerChains } = input;
  const standing = await lockMark(connection, dialect, input);
  const mark = await rewind(connection, dialect, { ...input, where: whereOf(input) }, standing);
  const held = mutated('states.replayApplied') ? 0 : mark;
  const windows = input.windows.filter(({ window }) => Number(window) > held);
  const first = Number(windows[0]?.window ?? mark + 1);
  if (first > mark + 1 && !mutated('states.gapIgnored')) throw gap(input, mark, first);
  if (!mutated('states.windowNotChecked')) {
    await checkComplete(connection, dialect, { ...input, windows });
  }
  let rows = 0;
  for (const table of input.source.tables) {
    for (const run of versionRuns(input, table.table, windows)) {
      const begin = Number(must(run.windows[0], 'a window').window);
      await carryStates(connection, dialect, { sourceId, table: run.table, window: begin });
      for (const { sql, params } of advanceStatements(dialect, sourceId, run.table, run.windows)) {
        rows += (await connection.query(sql, params)).changes;
      }
    }
  }
  const window = Math.max(mark, Number(windows.at(-1)?.window ?? 0));
  await connection.query(
    `UPDATE ${STATE_MARK_TABLE} SET _window = ?, _token = ?, _chain = ? WHERE _source = ?`,
    [window, token, formerChains.at(-1)?.below ?? 0n, sourceId],
  );
  await failpoint('executor.beforeStatesCommit', { token: String(token), window: String(window) });
  return { window, rows };
}

/** Makes the tables of schema versions that came after the last prepare grant. */
async function createVersions(
  connection: SqlConnection,
  dialect: Dialect,
  input: AdvanceInput,
): Promise<void> {
  for (const { table } of input.source.tables) {
    for (const run of versionRuns(input, table, input.windows)) {
      if (run.table.schemaVersion === 1) continue;
      for (const sql of stateTableSql(dialect, input.sourceId, run.table)) await connection.query(sql);
      await copyJoinIndexes(connection, dialect, input.sourceId, run.table);
    }
  }
}

/** Makes and locks the source's mark until the transaction ends. */
async function lockMark(
  connection: SqlConnection,
  dialect: Dialect,
  input: AdvanceInput,
): Promise<StateMark> {
  const { sourceId, token } = input;
  const columns = ['_source', '_window', '_token'];
  const insert = { table: STATE_MARK_TABLE, columns, source: 'VALUES (?, 0, 0)', key: ['_source'] };
  await connection.query(dialect.insertIgnore(insert), [sourceId]);
  const mark = await lockStateMark(connection, dialect, sourceId);
  if (mark.token > token && !mutated('states.tokenIgnored')) {
    const what = `${whereOf(input)} are under token ${mark.token}, the grant has ${token}`;
    throw new TidemarkError('STATE_FENCED', what, {
      details: { standing: String(mark.token), granted: String(token) },
    });
  }
  return mark;
}

const whereOf = ({ source, shard }: AdvanceInput): string =>
  `the row states of source ${source.name} on store shard ${shard}`;

function gap(input: AdvanceInput, mark: number, first: number): TidemarkError {
  const where = whereOf(input);
  return new TidemarkError('STATE_GAP', `${where} hold window ${mark}, the first one given is ${first}`, {
    details: { mark: String(mark), first: String(first), shard: input.shard },
  });
}

interface VersionRun {
  readonly table: CapturedTable;
  readonly windows: SealedWindow[];
}

/** The windows that were sealed with one and the same schema version of a table, run by run. */
function versionRuns(
  { captured }: AdvanceInput,
  table: string,
  windows: readonly SealedWindow[],
): VersionRun[] {
  const runs: VersionRun[] = [];
  for (const window of windows) {
    const sealed = window.schemaVersions.find((version) => version.table === table);
    if (sealed === undefined) continue;
    const last = runs.at(-1);
    if (last?.table.schemaVersion === sealed.version) last.windows.push(window);
    else runs.push({ table: captured(table, sealed.version), windows: [window] });
  }
  return runs;
}
