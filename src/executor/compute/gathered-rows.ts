/**
 * The rows of all store shards in temporary tables of one connection (design 6.9): what a report of class
 * `affectedKeys` needs whose groups hold rows of several shards. Each shard is asked through its own router,
 * in a snapshot in which it was found complete; row versions and sealed rows are the same whenever they are
 * read, so that the snapshots need not be of one moment.
 */
import { isTidemarkError, LIMITS, must, mutated, TidemarkError } from '../../base/index.ts';
import { touchedRows, type CompiledSource, type ContributionInput } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import type { FormerChain } from '../../wire/index.ts';
import { withMarker } from '../marker.ts';
import { placed } from '../placed.ts';
import { checkComplete } from './completeness.ts';
import {
  gatheredTables,
  narrowed,
  quoted,
  type GatheredSpan,
  type GatheredTable,
} from './gathered-tables.ts';
import { checkStates, type StatesOfSpan } from './state-mark.ts';

/** A store shard that is not the one on which the task runs. */
export interface OtherShard {
  readonly store: SqlEngine;
  readonly shard: string;
}

export interface GatherInput extends GatheredSpan {
  /** The shard on whose connection everything is gathered; it alone is asked for replicated tables. */
  readonly store: SqlEngine;
  readonly shard: string;
  readonly others: readonly OtherShard[];
  readonly source: CompiledSource;
  /** What the cluster was restored from. */
  readonly formerChains: readonly FormerChain[];
  /** What is computed over the rows. */
  readonly of: ContributionInput;
  /** The report and its windows, for errors. */
  readonly where: string;
  /** Change rows of the span are not there any more, and need not be: the states are all. */
  readonly fromStates: boolean;
  /** How many rows may be gathered in all. */
  readonly rowsMax: number;
  readonly marker: string;
  readonly signal: AbortSignal;
  /** Is told how many rows were gathered so far. */
  readonly progress: (rows: number) => void;
}

/** Names of the tables by captured table. */
export interface Gathered {
  readonly copied: ReadonlyMap<string, string>;
  readonly copiedStates: ReadonlyMap<string, string>;
}

/** What another shard's server is guilty of: to the router of the shard that gathers it says nothing. */
export class OtherShardError extends Error {
  readonly reason: unknown;

  constructor(reason: unknown) {
    super('another store shard failed');
    this.reason = reason;
  }
}

/**
 * Gathers the rows, runs `work` over them, and leaves the connection as it was.
 * @throws TidemarkError `GATHER_TOO_LARGE`, `WINDOW_INCOMPLETE`, `STATE_BEHIND` and `HISTORY_DROPPED` of the
 * shard that gathers, `DB_FAILED` for a server that cannot; {@link OtherShardError} with the same of another
 * shard.
 */
export async function withGathered<T>(
  connection: SqlConnection,
  input: GatherInput,
  work: (gathered: Gathered) => Promise<T>,
): Promise<T> {
  const { dialect } = input.store;
  await checkServer(connection, dialect);
  const parts = input.of.tables.flatMap((table, at) => gatheredTables(dialect, input, table, at));
  try {
    for (const { create } of parts) await connection.query(create);
    const names = (kind: GatheredTable['kind']): [string, string][] =>
      parts.filter((part) => part.kind === kind).map((part) => [part.table.table, part.name]);
    const gathered = { copied: new Map(names('changes')), copiedStates: new Map(names('states')) };
    await fill(connection, input, parts, gathered);
    const value = await work(gathered);
    for (const { drop } of parts) await connection.query(drop);
    return value;
  } catch (error) {
    // With the connection the server drops the tables.
    connection.destroy();
    throw withoutEffect(error);
  }
}

/** Where change rows alone tell the touched keys, they come first, and of row versions those of the keys. */
async function fill(
  connection: SqlConnection,
  input: GatherInput,
  parts: readonly GatheredTable[],
  gathered: Gathered,
): Promise<void> {
  const counter = new Counter(input);
  const rows = input.isFirst ? undefined : touchedRows({ ...input.of, ...gathered });
  if (rows === undefined) {
    await gather(connection, input, parts, counter);
    return;
  }
  const changes = parts.filter(({ kind }) => kind === 'changes');
  await gather(connection, input, changes, counter);
  const keys = await connection.query(rows.keys.sql, rows.keys.params).catch((error: unknown) => {
    throw isTidemarkError(error, ...OF_THE_SQL) ? placed(error, input.where) : error;
  });
  const states = parts
    .filter(({ kind }) => kind === 'states')
    .map((part) => narrowed(part, rows.only(part.table, keys.rows)));
  await gather(connection, input, states, counter);
}

const OF_THE_SQL = ['SQL_INVALID', 'SQL_WRITES', 'SQL_TOO_SLOW', 'VALUE_RANGE', 'DIVISION_BY_ZERO'] as const;

/** A replica that logs something of its own is none any more; and MySQL opens a temporary table once. */
async function checkServer(connection: SqlConnection, dialect: Dialect): Promise<void> {
  if (dialect.kind !== 'mysql') return;
  const { rows } = await connection.query('SELECT @@binlog_format, VERSION()');
  const [format, version] = must(rows[0], 'a row of settings');
  if (format !== 'ROW') {
    throw new TidemarkError('DB_FAILED', 'temporary tables would be logged', {
      next: 'Set binlog_format = ROW on the servers of the store.',
    });
  }
  if (/mariadb/i.test(String(version))) return;
  throw new TidemarkError('DB_FAILED', 'MySQL reads a temporary table only once in a statement', {
    next: 'Gather reports of several store shards on MariaDB, or keep their tables replicated: true.',
  });
}

async function gather(
  connection: SqlConnection,
  input: GatherInput,
  parts: readonly GatheredTable[],
  counter: Counter,
): Promise<void> {
  await gatherOwn(connection, input, parts, counter);
  const sharded = parts.filter(({ table }) => table.shardKey !== null || mutated('compute.replicasGathered'));
  // One after the other: each keeps a connection of its own and one of the gathering shard, never two.
  for (const other of mutated('compute.oneShardGathered') ? [] : input.others) {
    try {
      await gatherOther(connection, { ...input, ...other }, sharded, counter);
    } catch (error) {
      throw isTidemarkError(error, 'GATHER_TOO_LARGE') ? error : new OtherShardError(withoutEffect(error));
    }
  }
  if (input.store.kind !== 'mysql') return;
  // Else the server plans by statistics of empty tables. LOCAL: a replica must log nothing.
  const names = parts.map(({ name }) => input.store.dialect.id(name)).join(', ');
  await connection.query(`ANALYZE LOCAL TABLE ${names}`);
}

/** What is written goes with the connection: whether it took effect, nobody needs to know. */
function withoutEffect(error: unknown): unknown {
  if (!isTidemarkError(error, 'DB_OUTCOME_UNKNOWN')) return error;
  return new TidemarkError('DB_UNREACHABLE', error.message, { cause: error });
}

/**
 * Rows of the shard that gathers do not leave its server. In a snapshot INSERT would lock all rows that it
 * selects, against whoever advances the row states, so they are read outside: a second look tells that none
 * was dropped meanwhile.
 */
async function gatherOwn(
  connection: SqlConnection,
  input: GatherInput,
  parts: readonly GatheredTable[],
  counter: Counter,
): Promise<void> {
  const { dialect } = input.store;
  await lookAt(connection, dialect, input);
  if (mutated('compute.gatheringLocks')) await connection.begin('snapshot');
  for (const { name, columns, from, params } of parts) {
    const names = quoted(dialect, columns);
    const { changes } = await connection.query(
      `INSERT INTO ${dialect.id(name)} (${names}) SELECT ${names} ${from} LIMIT ${counter.left + 1}`,
      params,
    );
    counter.add(changes);
  }
  if (mutated('compute.gatheringLocks')) await connection.commit();
  await lookAt(connection, dialect, input);
}

async function lookAt(connection: SqlConnection, dialect: Dialect, input: GatherInput): Promise<void> {
  await connection.begin('snapshot');
  await check(connection, dialect, input);
  await connection.rollback();
}

function gatherOther(
  connection: SqlConnection,
  input: GatherInput,
  parts: readonly GatheredTable[],
  counter: Counter,
): Promise<void> {
  const { store, marker, signal } = input;
  const before = counter.rows;
  const readFrom = async (other: SqlConnection): Promise<void> => {
    await other.begin('snapshot');
    if (!mutated('compute.otherShardUnchecked')) await check(other, store.dialect, input);
    for (const { name, columns, exact, from, params } of parts) {
      const options = { pieceRows: LIMITS.gatherPieceRows, selectMs: SELECT_MS };
      await other.stream(`SELECT ${exact.join(', ')} ${from}`, params, options, async ({ rows }) => {
        counter.add(rows.length);
        if (rows.length > 0) await connection.insertRows(name, columns, rows);
        return true;
      });
    }
    await other.rollback();
  };
  return store.read(
    'gather',
    (other) => {
      // A server that failed half way has left rows: the next one must not add its own to them.
      if (counter.rows > before)
        throw new TidemarkError('DB_BUSY', 'a store shard was lost while it was read');
      return withMarker(store, other, marker, () => readFrom(other));
    },
    signal,
  );
}

/** The server counts the time in which rows are inserted elsewhere as the SELECT's own. */
const SELECT_MS = 3_600_000;

async function check(connection: SqlConnection, dialect: Dialect, input: GatherInput): Promise<void> {
  const { source, sourceId, shard, windows, formerChains, fromStates } = input;
  const of: StatesOfSpan = { source, sourceId, shard, windows, formerChains, fromStates };
  if (!fromStates) await checkComplete(connection, dialect, of);
  await checkStates(connection, of);
}

class Counter {
  rows = 0;
  readonly #of: Pick<GatherInput, 'rowsMax' | 'progress' | 'where'>;

  constructor(of: Pick<GatherInput, 'rowsMax' | 'progress' | 'where'>) {
    this.#of = of;
  }

  get left(): number {
    return this.#of.rowsMax - this.rows;
  }

  /** @throws TidemarkError `GATHER_TOO_LARGE`. */
  add(rows: number): void {
    this.rows += rows;
    this.#of.progress(this.rows);
    if (this.left >= 0) return;
    throw new TidemarkError(
      'GATHER_TOO_LARGE',
      `${this.#of.where}: more than ${this.#of.rowsMax} rows of all shards, the most that a task gathers`,
      { next: 'Have the keys contain the shard key, or keep smaller tables replicated.' },
    );
  }
}
