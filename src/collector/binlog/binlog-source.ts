/**
 * Reads changes from the binlog of MySQL or MariaDB (row format, GTIDs). A position is what the server calls
 * its GTID position (MariaDB) or set (MySQL), always at a transaction's end.
 *
 * MariaDB 10.11 is what the tests run on. The MySQL parts are written from its manual and untested.
 */
import { TidemarkError, isTidemarkError, must, mutated, type Clock } from '../../base/index.ts';
import type { CapturedTable } from '../../job/index.ts';
import { parseMysqlUrl, type MysqlTarget, type SqlConnection, type SqlEngine } from '../../sql/index.ts';
import { alteredTable } from './binlog-statements.ts';
import { NAME_COLUMNS, schemaChanged } from './binlog-rows.ts';
import { BinlogStream, type BinlogStreamOptions } from './binlog-stream.ts';
import type {
  ChangeReader,
  ChangeSource,
  ReadOptions,
  RowValues,
  SnapshotOptions,
  SourceEvent,
  SourceMoment,
} from '../change-source.ts';
import { gtidIncludes, type Flavour } from './gtid-position.ts';
import { inspectSource } from '../schema/inspect-source.ts';
import type { LoggedColumn } from './logged-column.ts';
import { loggedDefinition } from './logged-definition.ts';
import { nextMap } from './next-map.ts';
import { redefine, type SchemaChange } from '../schema/schema-change.ts';
import { touchedColumns } from '../schema/alter-clauses.ts';
import { readTables } from '../snapshot/snapshot-rows.ts';

export interface BinlogSourceOptions {
  readonly engine: SqlEngine;
  readonly url: string;
  readonly tables: readonly CapturedTable[];
  readonly clock: Clock;
}

/** Long enough for a store that makes the snapshot wait. */
const SNAPSHOT_IDLE_SECONDS = 3_600;

/** What inspection finds wrong with a table that was captured before. */
const UNCAPTURABLE = [
  ...(['TABLE_MISSING', 'TABLE_NO_PRIMARY_KEY', 'TABLE_CASCADES', 'COLUMN_TYPE'] as const),
  'SOURCE_UNTELLABLE' as const,
];

export class BinlogSource implements ChangeSource {
  readonly #options: BinlogSourceOptions;
  readonly #target: MysqlTarget;
  readonly #schema: string;
  #tables: readonly CapturedTable[];
  readonly #connections = new Set<SqlConnection>();
  readonly #streams = new Set<BinlogStream>();
  #control: Promise<SqlConnection> | undefined;
  #flavour: Flavour | undefined;

  /** @throws TidemarkError `CONFIG_INVALID` for a URL that names no database. */
  constructor(options: BinlogSourceOptions) {
    this.#options = options;
    this.#tables = options.tables;
    this.#target = parseMysqlUrl(options.url);
    const { database, label } = this.#target;
    if (database === undefined) {
      throw new TidemarkError('CONFIG_INVALID', `${label}: the URL of a source names its database`, {
        next: 'Write mysql://user:password@host:3306/database.',
      });
    }
    this.#schema = database;
  }

  /** MySQL cannot name a position without its global lock, which is taken once and not per chunk. */
  get hasChunks(): boolean {
    return this.#flavour === 'mariadb' || mutated('collector.lockPerChunk');
  }

  async snapshot(
    onRows: (table: number, rows: readonly RowValues[]) => Promise<boolean>,
    options: SnapshotOptions = {},
  ): Promise<SourceMoment> {
    const { engine } = this.#options;
    const { timeMs } = await this.head();
    const connection = await this.#connect('snapshot', SNAPSHOT_IDLE_SECONDS);
    const position =
      (await this.#flavourOf(connection)) === 'mariadb'
        ? await beginMariadbSnapshot(connection)
        : await this.#beginMysqlSnapshot(connection);
    if (position === '') {
      // '' means "from the beginning" to a source that is declared, so no window could end here.
      throw new TidemarkError(
        'BINLOG_NO_GTID',
        `${this.#target.label}: the binlog holds no transaction yet`,
        {
          next: 'After RESET MASTER commit any transaction on the server, then start again.',
        },
      );
    }
    const moment = { timeMs, position };
    if ((await options.begun?.(moment)) ?? true) {
      await readTables(connection, engine.dialect, this.#tables, onRows, options);
    }
    await connection.commit();
    await this.#disconnect(connection);
    return moment;
  }

  /** What lies behind `position` may be of older definitions than the source's present ones. */
  async read(position: string, { everyEnd = () => false }: ReadOptions = {}): Promise<ChangeReader> {
    const flavour = await this.#flavourOf(await this.#controlConnection());
    const stream = this.#start({ tables: this.#tables, flavour, position, everyEnd });
    const reader = new BinlogReader(stream, () => this.#compare());
    return {
      next: (waitMs) => reader.next(waitMs),
      close: () => this.#stop(stream),
    };
  }

  #start(
    options: Pick<BinlogStreamOptions, 'tables' | 'flavour' | 'position' | 'everyEnd' | 'firstMapOnly'>,
  ): BinlogStream {
    const { clock } = this.#options;
    const stream = new BinlogStream({ target: this.#target, schema: this.#schema, clock, ...options });
    this.#streams.add(stream);
    stream.start();
    return stream;
  }

  async #stop(stream: BinlogStream): Promise<void> {
    if (this.#streams.delete(stream)) await stream.stop();
  }

  /** One statement: NOW() is when it began, and the position is read after that. */
  async head(): Promise<SourceMoment> {
    const connection = await this.#controlConnection();
    const end = (await this.#flavourOf(connection)) === 'mariadb' ? 'gtid_binlog_pos' : 'gtid_executed';
    const { rows } = await connection.query(
      `SELECT CAST(FLOOR(UNIX_TIMESTAMP(NOW(6)) * 1000) AS SIGNED), @@GLOBAL.${end}`,
    );
    const [timeMs, position] = must(rows[0], 'one row');
    return { timeMs: Number(timeMs), position: String(position).replace(/\s/g, '') };
  }

  includes(position: string, other: string): boolean {
    return this.#flavour !== undefined && gtidIncludes(this.#flavour, position, other);
  }

  /** The server purges its binlog by its own rule. */
  discard(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    this.#connections.clear();
    const streams = [...this.#streams];
    this.#streams.clear();
    await Promise.all(streams.map((stream) => stream.stop()));
  }

  async compared(): Promise<readonly SchemaChange[]> {
    const changes: SchemaChange[] = [];
    for (const table of this.#tables) changes.push(...(await this.#change(table, '')));
    return changes;
  }

  async redefined(statement: string, position: string): Promise<readonly SchemaChange[]> {
    const names = { schema: this.#schema, tables: new Set(this.#tables.map(({ table }) => table)) };
    const name = statement === '' ? undefined : alteredTable(statement, this.#schema, names);
    const altered = this.#tables.find(({ table }) => table === name);
    const adoptsAll = mutated('collector.adoptsLaterDefinitions');
    if (altered !== undefined && !adoptsAll) return await this.#change(altered, statement, position);
    const all = await this.compared();
    return adoptsAll ? all : [];
  }

  /** One change, or none. Rows behind the position may be of a definition that is not the present one. */
  async #change(table: CapturedTable, statement: string, position?: string): Promise<SchemaChange[]> {
    const now = await this.#inspect(table);
    const logged = position === undefined ? undefined : await this.#nextMap(table, position);
    const then = logged === undefined ? now : loggedDefinition(table, now, logged);
    const change = redefine(table, then, touchedColumns(statement));
    if (change === undefined) return [];
    await this.#checkNamed(table.table);
    return [change];
  }

  async #nextMap(table: CapturedTable, position: string): Promise<readonly LoggedColumn[] | undefined> {
    if (mutated('collector.presentDefinitionOnly')) return undefined;
    const flavour = await this.#flavourOf(await this.#controlConnection());
    const { position: end } = await this.head();
    const tables = [table];
    return await nextMap({
      open: (from) =>
        this.#start({ tables, flavour, position: from, everyEnd: () => false, firstMapOnly: true }),
      close: (stream) => this.#stop(stream),
      position,
      isEnd: (reached) => this.includes(reached, end),
    });
  }

  adopt(changes: readonly SchemaChange[]): void {
    this.#tables = this.#tables.map(
      (table) => changes.find(({ before }) => before.table === table.table)?.after ?? table,
    );
  }

  async #inspect(table: CapturedTable): Promise<CapturedTable> {
    const [now] = await inspectSource(this.#options.engine, { tables: [table] }).catch((error: unknown) => {
      if (!isTidemarkError(error, ...UNCAPTURABLE)) throw error;
      throw schemaChanged(table.table, error.message);
    });
    return must(now, `the definition of ${table.table}`);
  }

  /** Without names in the log, rows between two definitions would be read under the wrong one, unseen. */
  async #checkNamed(table: string): Promise<void> {
    const connection = await this.#controlConnection();
    const { rows } = await connection.query('SELECT @@GLOBAL.binlog_row_metadata');
    if (rows[0]?.[0] === 'FULL') return;
    throw schemaChanged(table, 'and the log does not name columns', NAME_COLUMNS);
  }

  async #compare(): Promise<void> {
    const [change] = await this.compared();
    if (change === undefined) return;
    throw schemaChanged(change.before.table, 'its columns are not those that are captured', NAME_COLUMNS);
  }

  async #flavourOf(connection: SqlConnection): Promise<Flavour> {
    if (this.#flavour === undefined) {
      const { rows } = await connection.query('SELECT VERSION()');
      this.#flavour = /mariadb/i.test(String(rows[0]?.[0])) ? 'mariadb' : 'mysql';
    }
    return this.#flavour;
  }

  /** MySQL cannot name a snapshot's position: nothing may commit between the one and the other. */
  async #beginMysqlSnapshot(connection: SqlConnection): Promise<string> {
    const lock = await this.#connect('snapshot lock');
    try {
      await lock.query('FLUSH TABLES WITH READ LOCK');
      await connection.begin('snapshot');
      const { rows } = await lock.query('SELECT @@GLOBAL.gtid_executed');
      await lock.query('UNLOCK TABLES');
      await this.#disconnect(lock);
      return String(rows[0]?.[0]).replace(/\s/g, '');
    } finally {
      // Whatever failed: nobody could write to the server while this connection lives.
      if (this.#connections.delete(lock)) lock.destroy();
    }
  }

  #controlConnection(): Promise<SqlConnection> {
    this.#control ??= this.#connect('capture');
    return this.#control;
  }

  async #connect(purpose: string, idleSeconds?: number): Promise<SqlConnection> {
    const connection = await this.#options.engine.connect({
      purpose,
      ...(idleSeconds === undefined ? {} : { idleSeconds }),
    });
    this.#connections.add(connection);
    return connection;
  }

  async #disconnect(connection: SqlConnection): Promise<void> {
    if (this.#connections.delete(connection)) await connection.close();
  }
}

/** MariaDB remembers where in the binlog a consistent snapshot lies (its manual, START TRANSACTION). */
async function beginMariadbSnapshot(connection: SqlConnection): Promise<string> {
  await connection.begin('snapshot');
  const { rows } = await connection.query(`SHOW STATUS LIKE 'binlog_snapshot_%'`);
  const status = new Map(rows.map(([name, value]) => [String(name).toLowerCase(), String(value)]));
  const file = status.get('binlog_snapshot_file') ?? '';
  const offset = status.get('binlog_snapshot_position') ?? '0';
  const result = await connection.query('SELECT BINLOG_GTID_POS(?, ?)', [file, BigInt(offset)]);
  const position = result.rows[0]?.[0];
  if (typeof position === 'string') return position;
  throw new TidemarkError('BINLOG_NO_GTID', `the server has no GTID position for ${file}:${offset}`);
}

/** Hands out the stream's events in order, and judges names that the log left out before what they name. */
class BinlogReader {
  readonly #stream: BinlogStream;
  readonly #compare: () => Promise<void>;

  constructor(stream: BinlogStream, compare: () => Promise<void>) {
    this.#stream = stream;
    this.#compare = compare;
  }

  async next(waitMs: number): Promise<readonly SourceEvent[]> {
    const arrived = await this.#stream.take(waitMs);
    const events = arrived.filter((event) => event.type !== 'unnamed' && event.type !== 'logged');
    // If a table was altered, nothing of this batch is delivered: a new epoch would read it again anyway.
    if (events.length < arrived.length) await this.#compare();
    return events;
  }
}
