/**
 * The binlog as a stream of whole transactions: runs zongji, follows transaction boundaries itself, and puts
 * what happens into one queue. Everything here is synchronous; what must ask the database goes into the
 * queue for {@link BinlogReader} to judge in its turn. Behind a definition nothing is read.
 */
import { randomInt } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import ZongJi, { type AnyBinlogEvent, type TableMapEvent } from '@vlasky/zongji';
import type { Connection } from 'mysql2';
import {
  DECLARE_AGAIN,
  LIMITS,
  TidemarkError,
  isTidemarkError,
  mutated,
  type Clock,
} from '../../base/index.ts';
import type { CapturedTable } from '../../job/index.ts';
import type { MysqlTarget } from '../../sql/index.ts';
import { binlogError } from './binlog-errors.ts';
import {
  NAME_COLUMNS,
  checkFullImage,
  checkTableMap,
  imageReader,
  schemaChanged,
  type ImageReader,
} from './binlog-rows.ts';
import { judgeStatement } from './binlog-statements.ts';
import type { SourceEvent } from '../change-source.ts';
import { gtidTracker, type Flavour, type GtidTracker } from './gtid-position.ts';
import type { LoggedColumn } from './logged-column.ts';
import { takeRowEvents, type RowEvent } from './row-events.ts';

/** Rows follow whose column names are not in the log: the source's own are taken for them. */
export interface UnnamedEvent {
  readonly type: 'unnamed';
}

/** A table map, where these are all that is asked for; without columns if the log does not name them. */
export interface LoggedEvent {
  readonly type: 'logged';
  readonly columns: readonly LoggedColumn[] | undefined;
}

export type StreamEvent = SourceEvent | UnnamedEvent | LoggedEvent;

export interface BinlogStreamOptions {
  readonly target: MysqlTarget;
  readonly schema: string;
  readonly tables: readonly CapturedTable[];
  readonly flavour: Flavour;
  readonly position: string;
  /** See {@link ReadOptions.everyEnd}. */
  readonly everyEnd: () => boolean;
  /** Tells the first table map, and nothing behind it. */
  readonly firstMapOnly?: true;
  readonly clock: Clock;
}

/** Silent for longer than this although the server beats each second: the connection is dead. */
const SILENCE_MAX_MS = 10_000;
const HEARTBEAT_NS = 1_000_000_000;
/** How long the server bears it that nothing is read from it, for a store that is slow. */
const UNREAD_SECONDS = 3_600;
const CONTROL_IDLE_SECONDS = 365 * 24 * 3_600;
const CONNECT_TIMEOUT_MS = 5_000;
/** Server ids of replicas are chosen small; two collectors of one id would end each other. */
const SERVER_ID_MIN = 2 ** 31;
const SERVER_ID_MAX = 2 ** 32 - 1;
const EVENTS = [
  ...['mariadbgtid', 'gtid', 'anonymousgtid', 'query', 'xid', 'xaprepare', 'heartbeat'],
  // Row events are taken before they come to it; one that comes all the same is not passed over.
  ...['tablemap', 'writerows', 'updaterows', 'deleterows'],
];

interface LoggedTable {
  readonly at: number;
  readonly table: CapturedTable;
  readonly read: ImageReader;
  /** The table map itself, where it says all that is needed. */
  readonly map: Buffer | undefined;
}

interface Group {
  gtid: string | undefined;
  /** A statement alone: it has no commit of its own. */
  standalone: boolean;
  prepared: boolean;
  rows: boolean;
  /** The statement that may have altered a captured table. */
  definition?: string;
}

export class BinlogStream {
  readonly #options: BinlogStreamOptions;
  readonly #zongji: ZongJi;
  readonly #tracker: GtidTracker;
  readonly #logged = new Map<number, LoggedTable>();
  #arrivingMap: Buffer | undefined;
  readonly #queue: StreamEvent[] = [];
  #queuedBytes = 0;
  #unnamed = false;
  #over = false;
  #group: Group = { gtid: undefined, standalone: true, prepared: false, rows: false };
  #failure: TidemarkError | undefined;
  #wake: (() => void) | undefined;
  #heardMs: number;
  #paused = false;

  constructor(options: BinlogStreamOptions) {
    const { host, port, user, password, tls } = options.target;
    this.#options = options;
    this.#heardMs = options.clock.monotonicMs();
    this.#tracker = gtidTracker(options.flavour, options.position);
    this.#zongji = new ZongJi({
      host,
      port,
      user,
      password,
      ...(tls === 'verify' ? { ssl: { rejectUnauthorized: true, verifyIdentity: true } } : {}),
      connectTimeout: CONNECT_TIMEOUT_MS,
      charset: 'utf8mb4_bin',
      // Temporal values as the server would print them under UTC, to the microsecond.
      dateStrings: true,
      timezone: 'Z',
      supportBigNumbers: true,
      bigNumberStrings: true,
    });
  }

  start(): void {
    this.#zongji.on('error', (error: Error) => {
      this.#fail(binlogError(error, this.#options.target.label));
    });
    this.#zongji.on('ready', () => {
      takeRowEvents(this.#zongji, {
        tableMap: (tableId, map) => this.#isKnown(tableId, map),
        wants: (tableId) => this.#failure === undefined && !this.#over && this.#logged.has(tableId),
        rows: (event) => {
          this.#heardMs = this.#options.clock.monotonicMs();
          this.#rows(event);
        },
        fail: (error) => {
          this.#failWith(error);
        },
      });
      // The older name, and MySQL's since 8.0.26.
      for (const side of ['master', 'source']) {
        this.#set(this.#zongji.connection, `@${side}_heartbeat_period = ${HEARTBEAT_NS}`);
      }
      this.#set(this.#zongji.connection, `SESSION net_write_timeout = ${UNREAD_SECONDS}`);
      // zongji asks for column names on it, which with full metadata in the log is never.
      this.#set(this.#zongji.ctrlConnection, `SESSION wait_timeout = ${CONTROL_IDLE_SECONDS}`);
    });
    this.#zongji.on('binlog', (event: AnyBinlogEvent) => {
      this.#heardMs = this.#options.clock.monotonicMs();
      try {
        this.#hear(event);
      } catch (error) {
        this.#failWith(error);
      }
    });
    this.#zongji.start({
      serverId: randomInt(SERVER_ID_MIN, SERVER_ID_MAX),
      gtidSet: this.#options.position,
      includeEvents: EVENTS,
      includeSchema: { [this.#options.schema]: this.#options.tables.map(({ table }) => table) },
    });
  }

  /**
   * Resolves with some of what has arrived, or with nothing after `waitMs`.
   * @throws TidemarkError once what arrived before the failure has been taken.
   */
  async take(waitMs: number): Promise<readonly StreamEvent[]> {
    if (this.#queue.length === 0 && this.#failure === undefined) await this.#arrival(waitMs);
    // A backlog is taken in parts, and sockets have a turn between them: the store would idle meanwhile.
    else await setImmediate();
    if (this.#queue.length > 0) {
      const events = this.#queue.splice(0, LIMITS.sourceReadRowsMax);
      if (this.#queue.length === 0) this.#resume();
      return events;
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#options.clock.monotonicMs() - this.#heardMs > SILENCE_MAX_MS) {
      throw new TidemarkError('DB_UNREACHABLE', `${this.#options.target.label}: the binlog fell silent`);
    }
    return [];
  }

  stop(): Promise<void> {
    this.#fail(new TidemarkError('CANCELLED', 'the collector was stopped'));
    return new Promise((resolve) => {
      this.#zongji.once('stopped', () => {
        resolve();
      });
      this.#zongji.stop();
    });
  }

  #set(connection: Connection | null, variables: string): void {
    connection?.query(`SET ${variables}`, (error) => {
      if (error !== null) this.#fail(binlogError(error, this.#options.target.label));
    });
  }

  #arrival(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(waitMs, () => {
        this.#wake = undefined;
        resolve();
      });
      this.#wake = () => {
        cancel();
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #push(event: StreamEvent): void {
    const follows = event.type === 'commit' && this.#queue.at(-1)?.type === 'commit';
    // Transactions of schemas that are not captured follow each other: mostly only the last end matters.
    if (follows && (mutated('collector.endsLeftOut') || !this.#options.everyEnd())) this.#queue.pop();
    this.#queue.push(event);
    const isFull =
      this.#queue.length >= LIMITS.sourceEventsWaitingMax ||
      this.#queuedBytes >= LIMITS.sourceBytesWaitingMax;
    if (isFull && !this.#paused && !mutated('collector.socketNotPaused')) {
      this.#paused = true;
      this.#zongji.connection?.pause();
    }
    this.#wake?.();
  }

  #resume(): void {
    this.#queuedBytes = 0;
    if (!this.#paused) return;
    this.#paused = false;
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#zongji.connection?.resume();
  }

  #fail(error: TidemarkError): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  #failWith(error: unknown): void {
    this.#fail(isTidemarkError(error) ? error : binlogError(error, this.#options.target.label));
  }

  #hear(event: AnyBinlogEvent): void {
    if (this.#failure !== undefined || this.#over) return;
    switch (event.getTypeName()) {
      case 'MariadbGtid': {
        const { gtid, standalone, preparedXa } = event as Extract<AnyBinlogEvent, { standalone: boolean }>;
        this.#group = { gtid, standalone, prepared: preparedXa, rows: false };
        return;
      }
      case 'Gtid':
        this.#group = { gtid: event.gtid, standalone: true, prepared: false, rows: false };
        return;
      case 'AnonymousGtid':
        throw new TidemarkError('BINLOG_NO_GTID', 'the source logged a transaction without a GTID');
      case 'Query':
        this.#statement(event as Extract<AnyBinlogEvent, { query: string }>);
        return;
      case 'Xid':
        this.#commit();
        return;
      case 'XaPrepare':
        this.#prepared();
        return;
      case 'TableMap':
        this.#tableMap(event as TableMapEvent);
        return;
      case 'WriteRows':
      case 'UpdateRows':
      case 'DeleteRows':
        throw untellable('rows came in a way that is not known');
      default:
    }
  }

  #statement({ query, schema }: { query: string; schema: string }): void {
    const upper = query.trim().slice(0, 40).toUpperCase();
    if (upper === 'BEGIN') {
      this.#group.standalone = false;
      return;
    }
    if (upper === 'COMMIT') {
      this.#commit();
      return;
    }
    if (upper.startsWith('ROLLBACK')) {
      if (this.#group.rows) throw untellable('a transaction was rolled back after its rows were logged');
      if (upper === 'ROLLBACK') this.#commit();
      return;
    }
    if (upper.startsWith('XA START')) {
      this.#group.standalone = false;
      this.#group.prepared = true;
      return;
    }
    const tables = new Set(this.#options.tables.map(({ table }) => table));
    const verdict = judgeStatement(query, schema, { schema: this.#options.schema, tables });
    if (verdict === 'untold')
      throw untellable(`a captured table was changed by: ${query.trim().slice(0, 120)}`);
    if (verdict === 'replaced') {
      throw new TidemarkError(
        'SCHEMA_CHANGED',
        `a captured table was made anew by: ${query.trim().slice(0, 120)}`,
        { next: DECLARE_AGAIN },
      );
    }
    if (verdict === 'definition') this.#group.definition = '';
    if (verdict === 'altered') this.#group.definition = query;
    if (this.#group.standalone || upper.startsWith('XA COMMIT') || upper.startsWith('XA ROLLBACK')) {
      this.#commit();
    }
  }

  /** A prepared transaction may still be rolled back, and its commit does not repeat its rows. */
  #prepared(): void {
    if (this.#group.rows) throw untellable('an XA transaction changed a captured table');
    this.#commit();
  }

  #commit(): void {
    if (this.#group.gtid === undefined) return;
    const { gtid, definition } = this.#group;
    this.#tracker.add(gtid);
    this.#group = { gtid: undefined, standalone: true, prepared: false, rows: false };
    const position = this.#tracker.toString();
    this.#over = definition !== undefined;
    this.#push(
      definition === undefined
        ? { type: 'commit', position }
        : { type: 'definition', statement: definition, position },
    );
  }

  /**
   * Each transaction repeats its table maps, which cost as much to read as a hundred rows. Numbers of tables
   * begin anew when the server is started again, so the whole map is compared.
   */
  #isKnown(tableId: number, map: Buffer): boolean {
    if (this.#logged.get(tableId)?.map?.equals(map) === true) return true;
    this.#logged.delete(tableId);
    this.#arrivingMap = Buffer.from(map);
    return false;
  }

  #tableMap(event: TableMapEvent): void {
    const at = this.#options.tables.findIndex(({ table }) => table === event.tableName);
    const table = this.#options.tables[at];
    if (table === undefined) return;
    const logged = this.#loggedColumns(event.tableId);
    if (this.#options.firstMapOnly === true) {
      this.#over = true;
      const named = logged.every(({ name }, place) => name === event.columnNames?.[place]);
      this.#push({ type: 'logged', columns: named ? logged : undefined });
      return;
    }
    if (event.columnNames === undefined) this.#checkUnnamed(table);
    // zongji asks the source for some old types, and then takes the names from there as well.
    else if (logged.some(({ name }, place) => name !== event.columnNames?.[place])) {
      throw schemaChanged(table.table, 'the source has other columns than its log');
    }
    checkTableMap(table, logged);
    const map = event.columnNames === undefined ? undefined : this.#arrivingMap;
    this.#logged.set(event.tableId, { at, table, map, read: imageReader(table, logged) });
  }

  #loggedColumns(tableId: number): readonly LoggedColumn[] {
    const { columns = [], columnSchemas = [] } = this.#zongji.tableMap[tableId] ?? {};
    return columns.map((column, at) => {
      const said = columnSchemas[at];
      return {
        ...column,
        declared: said?.COLUMN_TYPE,
        unsigned: said?.UNSIGNED,
        members: said?.ENUM_VALUES ?? said?.SET_VALUES,
      };
    });
  }

  /** The names were read from the source as it is now, which is only right while nothing was altered. */
  #checkUnnamed({ table, schemaVersion }: CapturedTable): void {
    if (schemaVersion > 1 && !mutated('collector.trustsUnnamedColumns')) {
      throw schemaChanged(table, 'and the log does not name its columns', NAME_COLUMNS);
    }
    if (!this.#unnamed) this.#push({ type: 'unnamed' });
    this.#unnamed = true;
  }

  #rows(event: RowEvent): void {
    const logged = this.#logged.get(event.tableId);
    if (logged === undefined) throw untellable('rows were logged before their table map');
    if (this.#group.prepared) throw untellable('an XA transaction changed a captured table');
    const { at, table, read } = logged;
    checkFullImage(table, event.columns, event.present);
    this.#group.rows = true;
    this.#queuedBytes += event.to - event.from;
    const cursor = { bytes: event.bytes, at: event.from };
    while (cursor.at < event.to) {
      if (event.kind !== 'insert') this.#push({ type: 'change', table: at, weight: -1, row: read(cursor) });
      if (event.kind !== 'delete') this.#push({ type: 'change', table: at, weight: 1, row: read(cursor) });
    }
    if (cursor.at !== event.to) throw untellable(`rows of ${table.table} are not as long as they say`);
  }
}

function untellable(detail: string): TidemarkError {
  return new TidemarkError('SOURCE_UNTELLABLE', detail, {
    next: DECLARE_AGAIN,
  });
}
