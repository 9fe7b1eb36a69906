/**
 * What `npm run chaos` says of windows: each change of the source in exactly one, with all of its
 * transaction. Planted mistakes, one at a time, in windows that are right as they are made.
 */
import mysql, { type Connection } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

interface SourceLog {
  transaction(connection: Connection, work: () => Promise<unknown>): Promise<void>;
  numbered(connection: Connection, work: () => Promise<unknown>): Promise<void>;
  emptied(connection: Connection, table: string): Promise<void>;
  between(from: string, to: string): Promise<readonly { weight: number; image: string }[]>;
  problems(): Promise<readonly string[]>;
}
interface Sealed {
  readonly window: bigint;
  readonly epoch: bigint;
  readonly from: string;
  readonly to: string;
  readonly rows: number;
}
interface SealedChanges {
  readonly rows: number;
  gapBegins(after: bigint): void;
  gapEnds(last: bigint): void;
  take(windows: readonly Sealed[], stores: readonly string[]): Promise<void>;
  forgetAbove(last: bigint): void;
  problems(): readonly string[];
}
interface Scripts {
  readonly SourceLog: { make(connection: Connection): Promise<SourceLog> };
  readonly SealedChanges: new (options: object) => SealedChanges;
  readonly SCHEMA: readonly string[];
  readonly TABLES: Readonly<Record<string, readonly string[]>>;
}

const script = async (name: string): Promise<object> =>
  (await import(new URL(`../../scripts/chaos/${name}`, import.meta.url).href)) as object;

const SOURCE_ID = 3n;
const EPOCH = 7n;
const SALES = `tm_change_${SOURCE_ID}_sales_v1`;
const ITEMS = `tm_change_${SOURCE_ID}_items_v1`;

describe.skipIf(mariadbMissing())('what chaos runs say of sealed windows', () => {
  let scripts: Scripts;
  let source: FreshDatabase;
  let store: FreshDatabase;
  let connection: Connection;
  let other: Connection;
  let log: SourceLog;
  /** The position after each transaction; the first is that before all. */
  let ends: string[];

  const position = async (): Promise<string> => {
    const [rows] = await connection.query('SELECT @@gtid_binlog_pos AS position');
    return (rows as { position: string }[])[0]?.position ?? '';
  };
  const commit = async (...statements: readonly string[]): Promise<void> => {
    await log.transaction(connection, async () => {
      for (const statement of statements) await connection.query(statement);
    });
    ends.push(await position());
  };

  beforeAll(async () => {
    scripts = Object.assign(
      {},
      ...(await Promise.all(['source-log.mjs', 'sealed-changes.mjs', 'job.mjs'].map(script))),
    ) as Scripts;
    [source, store] = await Promise.all([freshDatabase('changes_source'), freshDatabase('changes_store')]);
    connection = await mysql.createConnection(source.url);
    other = await mysql.createConnection(source.url);
    for (const statement of scripts.SCHEMA) await connection.query(statement);
    log = await scripts.SourceLog.make(other);
    ends = [await position()];
    await commit(
      "INSERT INTO sales VALUES (1, 1, 1, 'new', 5, NULL), (2, 1, 2, 'new', 9, 3)",
      'INSERT INTO items VALUES (1, 1, 1, 10), (2, 1, 1, 20)',
    );
    await commit("INSERT INTO sales VALUES (3, 2, 1, 'paid', 7, NULL)");
    await commit('DELETE FROM sales WHERE sale_id = 3', 'UPDATE items SET price = 10 WHERE item_id = 1');
    await commit("UPDATE sales SET state = 'New', discount = NULL", 'UPDATE items SET price = 11');
  });

  afterAll(async () => {
    await Promise.all([connection.end(), other.end()]);
    await Promise.all([source.drop(), store.drop()]);
  });

  /** Windows 1 with the first transaction and 2 with the others, as they should be. */
  const cut = (): [Sealed, Sealed] => {
    const at = (end: number): string => ends[end] ?? '';
    const sealed = { epoch: EPOCH };
    return [
      { ...sealed, window: 1n, from: at(0), to: at(1), rows: 4 },
      { ...sealed, window: 2n, from: at(1), to: at(4), rows: 10 },
    ];
  };

  const inStore = (sql: string): Promise<unknown> => connection.query(sql.replaceAll('@', `${store.name}.`));

  beforeEach(async () => {
    for (const table of Object.keys(scripts.TABLES)) {
      await inStore(
        `CREATE OR REPLACE TABLE @tm_change_${SOURCE_ID}_${table}_v1 AS SELECT ${SOURCE_ID} AS _source,
         ${EPOCH} AS _epoch, 1 AS _window, 1 AS _w, t.* FROM ${table} t LIMIT 0`,
      );
    }
    const stamp = (window: number, weight: number): string => `${SOURCE_ID}, ${EPOCH}, ${window}, ${weight}`;
    await inStore(
      `INSERT INTO @${SALES} VALUES (${stamp(1, 1)}, 1, 1, 1, 'new', 5, NULL),
       (${stamp(1, 1)}, 2, 1, 2, 'new', 9, 3), (${stamp(2, 1)}, 3, 2, 1, 'paid', 7, NULL),
       (${stamp(2, -1)}, 3, 2, 1, 'paid', 7, NULL), (${stamp(2, -1)}, 1, 1, 1, 'new', 5, NULL),
       (${stamp(2, 1)}, 1, 1, 1, 'New', 5, NULL), (${stamp(2, -1)}, 2, 1, 2, 'new', 9, 3),
       (${stamp(2, 1)}, 2, 1, 2, 'New', 9, NULL)`,
    );
    await inStore(
      `INSERT INTO @${ITEMS} VALUES (${stamp(1, 1)}, 1, 1, 1, 10), (${stamp(1, 1)}, 2, 1, 1, 20),
       (${stamp(2, -1)}, 1, 1, 1, 10), (${stamp(2, 1)}, 1, 1, 1, 11), (${stamp(2, -1)}, 2, 1, 1, 20),
       (${stamp(2, 1)}, 2, 1, 1, 11)`,
    );
  });

  const problemsOf = async (windows: readonly Sealed[]): Promise<readonly string[]> => {
    const changes = new scripts.SealedChanges({ sourceId: SOURCE_ID, log });
    await changes.take(windows, [store.url]);
    return changes.problems();
  };
  const rowsOf = ([first, second]: [Sealed, Sealed], one: number, two: number): Sealed[] => [
    { ...first, rows: one },
    { ...second, rows: two },
  ];

  it('finds nothing in windows that are right, and in rows of a deposed epoch', async () => {
    expect(await problemsOf(cut())).toEqual([]);
    await inStore(`INSERT INTO @${SALES} SELECT _source, 6, _window, _w, sale_id, shop_id, item_id, state,
      quantity, discount FROM @${SALES}`);
    expect(await problemsOf(cut())).toEqual([]);
    expect(await log.problems()).toEqual([]);
  });

  it('sees a row and its deletion that are both lost', async () => {
    await inStore(`DELETE FROM @${SALES} WHERE sale_id = 3`);
    const problems = await problemsOf(rowsOf(cut(), 4, 8));
    expect(problems).toHaveLength(2);
    expect(problems.join()).toContain('window 2: 0 times - sales 3');
  });

  it('sees a row and its deletion that are both there twice', async () => {
    await inStore(`INSERT INTO @${SALES} SELECT * FROM @${SALES} WHERE sale_id = 3`);
    const problems = await problemsOf(rowsOf(cut(), 4, 12));
    expect(problems).toHaveLength(2);
    expect(problems.join()).toContain('window 2: 2 times + sales 3');
  });

  it('sees a transaction whose one table is in the next window', async () => {
    await inStore(`UPDATE @${ITEMS} SET _window = 2 WHERE _window = 1`);
    const problems = await problemsOf(rowsOf(cut(), 2, 12));
    expect(problems.filter((problem) => problem.includes('window 1: 0 times + items'))).toHaveLength(2);
    expect(problems.filter((problem) => problem.includes('window 2: 1 times + items'))).toHaveLength(2);
  });

  it('sees an update of which half is in another window, and a value that is not what it was', async () => {
    await inStore(`UPDATE @${SALES} SET _window = 1 WHERE _window = 2 AND sale_id = 2 AND _w = -1`);
    expect(await problemsOf(rowsOf(cut(), 5, 9))).toHaveLength(2);
    await inStore(`UPDATE @${SALES} SET _window = 2 WHERE sale_id = 2 AND _w = -1`);
    await inStore(`UPDATE @${SALES} SET discount = 0 WHERE sale_id = 3`);
    expect(await problemsOf(cut())).toHaveLength(3);
  });

  it('sees windows that hold other rows than they were sealed with', async () => {
    expect(await problemsOf(rowsOf(cut(), 4, 11))).toEqual(['window 2: 10 change rows, sealed as 11']);
  });

  it('compares a window again that was sealed again', async () => {
    const changes = new scripts.SealedChanges({ sourceId: SOURCE_ID, log });
    const [first, second] = cut();
    await changes.take([first, second], [store.url]);
    await inStore(`UPDATE @${SALES} SET _epoch = 8 WHERE _window = 2`);
    await inStore(`UPDATE @${ITEMS} SET _epoch = 8 WHERE _window = 2`);
    await changes.take([first, { ...second, epoch: 8n }], [store.url]);
    expect(changes.problems()).toEqual([]);
    await inStore(`UPDATE @${ITEMS} SET _epoch = 9, price = 12 WHERE _window = 2`);
    await inStore(`UPDATE @${SALES} SET _epoch = 9 WHERE _window = 2`);
    await changes.take([first, { ...second, epoch: 9n }], [store.url]);
    expect(changes.problems()).not.toEqual([]);
    expect(changes.rows).toBe(14);
  });

  it('compares windows together in which tables were copied, up to a table that was emptied', async () => {
    const copied = (): SealedChanges => {
      const changes = new scripts.SealedChanges({ sourceId: SOURCE_ID, log });
      changes.gapBegins(0n);
      return changes;
    };
    const [first, second] = cut();
    // What came and went before it was copied is in no window.
    await inStore(`DELETE FROM @${SALES} WHERE sale_id = 3`);
    const right = copied();
    await right.take([first, { ...second, rows: 8 }], [store.url]);
    expect(right.problems()).toHaveLength(1);
    right.gapEnds(2n);
    await right.take([], [store.url]);
    expect(right.problems()).toEqual([]);
    await inStore(`DELETE FROM @${ITEMS} WHERE _w = -1 AND item_id = 1`);
    const wrong = copied();
    wrong.gapEnds(2n);
    await wrong.take([first, { ...second, rows: 7 }], [store.url]);
    expect(wrong.problems()).toEqual([
      'windows 1 to 2 together: 1 times items 1 1 1 10, the source has 0 (1 such)',
    ]);
    await log.numbered(connection, async () => {
      await log.emptied(connection, 'items');
      await connection.query('TRUNCATE items');
    });
    const emptied = await log.between(ends.at(-1) ?? '', await position());
    expect(emptied.map(({ weight, image }) => `${weight} ${image}`)).toEqual([
      '-1 items 1 1 1 11',
      '-1 items 2 1 1 11',
    ]);
    expect(await log.problems()).toEqual([]);
  });

  it('sees a source whose changes did not reach its log', async () => {
    await connection.query("SET @tx = 0, @@session.sql_mode = ''");
    await connection.query('TRUNCATE sales');
    expect(await log.problems()).toHaveLength(2);
  });
});
