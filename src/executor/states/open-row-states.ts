/** Reads rows out of the row states of all store shards, for a re-snapshot of their source (design 6.5). */
import { LIMITS, must, TidemarkError } from '../../base/index.ts';
import {
  exactSelect,
  keyAfter,
  rowCodec,
  type RowStates,
  type RowStatesPart,
  type RowValues,
} from '../../collector/index.ts';
import { stateTable, type CompiledSource } from '../../job/index.ts';
import type { SqlConnection, SqlEngine, SqlValue } from '../../sql/index.ts';
import type { FormerChain } from '../../wire/index.ts';
import { heldWindow, readStateMark } from './state-mark.ts';
import { rowKeys } from './state-tables.ts';

export interface OpenRowStates {
  readonly sourceId: number;
  readonly source: CompiledSource;
  /** What the cluster was restored from. */
  readonly formerChains: readonly FormerChain[];
  /** The store shards by name, in the topology's order; read on their primaries. */
  readonly shards: ReadonlyMap<string, SqlEngine>;
}

/** Nothing is read before it is asked for. */
export function openRowStates({ sourceId, source, formerChains, shards }: OpenRowStates): RowStates {
  const held = async (connection: SqlConnection): Promise<number> =>
    heldWindow(await readStateMark(connection, sourceId), formerChains);
  return {
    async held() {
      const marks: number[] = [];
      for (const engine of shards.values()) {
        marks.push(await engine.use('row states', held));
      }
      return Math.min(...marks);
    },
    async read(part, onRows) {
      const [first] = shards;
      // Every shard has all rows of a replicated table.
      const holding = part.table.shardKey === null && first !== undefined ? [first] : [...shards];
      for (const [shard, engine] of holding) {
        const where = `the row states of source ${source.name} on store shard ${shard}`;
        await readShard(engine, { sourceId, where, held, part }, onRows);
      }
    },
  };
}

interface ShardPart {
  readonly sourceId: number;
  readonly where: string;
  /** The last window that the shard holds. */
  readonly held: (connection: SqlConnection) => Promise<number>;
  readonly part: RowStatesPart;
}

/** One transaction a page: what is read does not change, and each page sees for itself that it is there. */
async function readShard(
  engine: SqlEngine,
  of: ShardPart,
  onRows: (rows: readonly RowValues[]) => Promise<void>,
): Promise<void> {
  const page = pageOf(engine, of);
  const { columns } = of.part.table;
  const convert = rowCodec(of.part.table);
  let after: readonly SqlValue[] | undefined = of.part.after;
  for (;;) {
    const { sql, params } = page(after);
    const rows = await engine.use('row states', async (connection) => {
      await connection.begin('snapshot');
      const mark = await of.held(connection);
      const found = mark < of.part.window ? undefined : (await connection.query(sql, params)).rows;
      await connection.commit();
      return found ?? behind(of, mark);
    });
    if (rows.length > 0) await onRows(rows.map(convert));
    if (rows.length < LIMITS.sourceReadRowsMax) return;
    after = must(rows.at(-1), 'the last row of a full page').slice(columns.length);
  }
}

function pageOf(
  { dialect }: SqlEngine,
  { sourceId, part }: ShardPart,
): (after: readonly SqlValue[] | undefined) => { sql: string; params: SqlValue[] } {
  const { table, window, upTo } = part;
  const keys = rowKeys(dialect, table).map(({ column, ddl }) => {
    const name = dialect.id(column);
    // MySQL orders these by number, and compares them with what it shows of them otherwise.
    const byNumber = dialect.kind === 'mysql' && /^(?:ENUM|SET|BIT|FLOAT)/.test(ddl);
    return { name, compared: byNumber ? `${name} + 0` : name };
  });
  const columns = [
    ...table.columns.map((column) => exactSelect(dialect, column)),
    ...keys.map(({ compared }, at) => `${compared} AS ${dialect.id(`_at_${at}`)}`),
  ];
  const from = dialect.id(stateTable({ sourceId, ...table }));
  const order = keys.map(({ name }) => name).join(', ');
  return (after) => {
    const terms = ['_from <= ?', '_to > ?'];
    const params: SqlValue[] = [BigInt(window), BigInt(window)];
    if (after !== undefined) {
      const above = keyAfter(keys, after);
      terms.push(above.sql);
      params.push(...above.params);
    }
    const [firstKey] = keys;
    if (upTo !== undefined && firstKey !== undefined) {
      const above = keyAfter(keys, upTo);
      // The first of the two is what an index is read up to.
      terms.push(`${firstKey.compared} <= ?`, `NOT ${above.sql}`);
      params.push(upTo[0] ?? null, ...above.params);
    }
    const sql =
      `SELECT ${columns.join(', ')} FROM ${from} WHERE ${terms.join(' AND ')} ` +
      `ORDER BY ${order} LIMIT ${LIMITS.sourceReadRowsMax}`;
    return { sql, params };
  };
}

function behind({ where, part }: ShardPart, mark: number): never {
  throw new TidemarkError('STATE_BEHIND', `${where} hold window ${mark}, ${part.window} is read`, {
    details: { mark: String(mark), window: String(part.window) },
  });
}
