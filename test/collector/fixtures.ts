/** A source and a store of either engine for the collector's tests, and the one log that seals go to. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LIMITS, TidemarkError, must, systemClock } from '../../src/base/index.ts';
import {
  createStoreTables,
  inspectSource,
  runCollector,
  type CollectorLog,
  type CollectorOptions,
  type SchemaChange,
} from '../../src/collector/index.ts';
import { MARK_TABLE, changeTable, type CompiledSource } from '../../src/job/index.ts';
import {
  openEngine,
  type DatabaseAddress,
  type EngineKind,
  type SqlEngine,
  type SqlParam,
  type SqlValue,
} from '../../src/sql/index.ts';
import type { SealedWindow } from '../../src/wire/index.ts';
import { freshDatabase } from '../support/mariadb.ts';

export const SOURCE_ID = 7;

export interface Fixture {
  readonly kind: EngineKind;
  readonly address: DatabaseAddress;
  readonly storeAddress: DatabaseAddress;
  readonly source: SqlEngine;
  readonly store: SqlEngine;
  /** All store shards; the first is `store`. */
  readonly stores: readonly SqlEngine[];
  /** Runs statements on the source, each by itself. */
  exec(...statements: readonly string[]): Promise<void>;
  /** Runs statements on the source as one transaction. */
  transaction(statements: readonly string[], end?: 'commit' | 'rollback'): Promise<void>;
  close(): Promise<void>;
}

/** Opens an empty source and empty store shards; on MariaDB all are on one server. */
export async function openFixture(kind: EngineKind, shards = 1): Promise<Fixture> {
  const names = ['source', 'store', ...Array.from({ length: shards - 1 }, (_, at) => `store${at + 2}`)];
  const cleanUp: (() => Promise<void>)[] = [];
  const addresses: DatabaseAddress[] = [];
  if (kind === 'mysql') {
    for (const name of names) {
      const database = await freshDatabase(`collector_${name}`);
      cleanUp.push(() => database.drop());
      addresses.push({ kind, url: database.url });
    }
  } else {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-collector-'));
    cleanUp.push(() => rm(folder, { recursive: true, force: true }));
    for (const name of names) addresses.push({ kind, file: join(folder, `${name}.db`) });
  }
  const [address, storeAddress] = addresses as [DatabaseAddress, DatabaseAddress];
  const source = openEngine(address);
  const stores = addresses.slice(1).map((one) => openEngine(one));
  const store = must(stores[0], 'a store shard');
  const transaction: Fixture['transaction'] = (statements, end = 'commit') =>
    source.use('test', async (connection) => {
      await connection.begin('write');
      for (const statement of statements) await connection.query(statement);
      await (end === 'commit' ? connection.commit() : connection.rollback());
    });
  return {
    kind,
    address,
    storeAddress,
    source,
    store,
    stores,
    exec: (...statements) =>
      source.use('test', async (connection) => {
        for (const statement of statements) await connection.query(statement);
      }),
    transaction,
    close: async () => {
      await source.close();
      await Promise.all(stores.map((one) => one.close()));
      for (const step of cleanUp) await step();
    },
  };
}

/** Compiles a source from the tables as they are, and makes the store's tables. */
export async function compile(
  fixture: Fixture,
  tables: readonly string[],
  window: Partial<CompiledSource['window']> = {},
): Promise<CompiledSource> {
  const compiled: CompiledSource = {
    format: 1,
    name: 'shop',
    engine: fixture.kind,
    database: { embedded: { file: 'not read here' } },
    tables: await inspectSource(fixture.source, { tables: tables.map((table) => ({ table })) }),
    window: { lengthMs: 50, rowsMax: 10_000, bytesMax: 8_000_000, ...window },
  };
  for (const store of fixture.stores) await createStoreTables(store, SOURCE_ID, compiled);
  return compiled;
}

/** What the cluster's log does with seals (design 6.4): a chain under one current epoch. */
export class SealLog {
  readonly windows: SealedWindow[] = [];
  epoch = 0n;
  /** By window, how far the snapshot had come. */
  readonly cursors: string[] = [];
  /** The source as the log has it; undefined before its first schema version was added. */
  source: CompiledSource | undefined;
  readonly changes: SchemaChange[] = [];

  addSchema(epoch: bigint, change: SchemaChange, source: CompiledSource): void {
    if (epoch !== this.epoch) throw new TidemarkError('STALE_EPOCH', 'a newer collector was granted');
    this.source = source;
    this.changes.push(change);
  }

  seal(window: SealedWindow, cursor = ''): void {
    const again = this.windows[Number(window.window) - 1];
    if (again?.epoch === window.epoch && again.to === window.to) return;
    if (window.epoch !== this.epoch) throw new TidemarkError('STALE_EPOCH', 'a newer collector was granted');
    const last = this.windows.at(-1);
    if (window.from !== (last?.to ?? '') || Number(window.window) !== this.windows.length + 1) {
      throw new TidemarkError('WINDOW_GAP', `window ${window.window} does not continue the chain`);
    }
    this.windows.push(window);
    this.cursors.push(cursor);
  }
}

export interface RunningCollector {
  /** Aborts it and resolves when it has ended; rejects with what ended it, unless `ended` was asked for. */
  stop(): Promise<void>;
  /** Rejects with what ended it, resolves when it was stopped. Who asks for it looks at that failure. */
  readonly ended: Promise<void>;
}

/** Stops them all and closes the fixture, then throws the first failure that no test has looked at. */
export async function endCollectors(
  collectors: readonly (RunningCollector | undefined)[],
  close: () => Promise<void>,
): Promise<void> {
  const stopped = await Promise.allSettled(
    collectors.map(async (collector) => {
      await collector?.stop();
    }),
  );
  await close();
  for (const one of stopped) if (one.status === 'rejected') throw one.reason;
}

const quiet: CollectorLog = { info: () => undefined, warn: () => undefined };

/** What a test may have otherwise. */
type Given = Partial<
  Pick<
    CollectorOptions,
    | 'seal'
    | 'idleSealMs'
    | 'clock'
    | 'chunkRows'
    | 'cursor'
    | 'rowStates'
    | 'formerTables'
    | 'lost'
    | 'reseal'
    | 'log'
  >
>;

/** Grants a new epoch in `log` and starts a collector under it where the last sealed window ended. */
export function startCollector(
  fixture: Fixture,
  source: CompiledSource,
  log: SealLog,
  options: Given = {},
): RunningCollector {
  log.epoch += 100_000_000_000_000_001n;
  const { epoch } = log;
  const abort = new AbortController();
  const ended = runCollector({
    sourceId: SOURCE_ID,
    epoch: log.epoch,
    leaderTerm: 3n,
    lastWindow: log.windows.length,
    position: log.windows.at(-1)?.to ?? '',
    cursor: log.cursors.at(-1) ?? '',
    formerTables: 0,
    rowStates: undefined,
    lost: [],
    reseal: () => Promise.reject(new Error('nothing is lost')),
    source: log.source ?? source,
    topology: {
      format: 1,
      version: 1,
      shards: fixture.stores.map((_, at) => ({
        name: `s${at}`,
        engine: fixture.kind,
        database: source.database,
        replicas: [],
        slots: [shareOf(at, fixture.stores.length)],
      })),
    },
    engines: {
      source: fixture.source,
      sourceAddress: fixture.address,
      shards: new Map(fixture.stores.map((store, at) => [`s${at}`, store])),
    },
    seal: (window, cursor) =>
      Promise.resolve().then(() => {
        log.seal(window, cursor);
      }),
    addSchema: (change, changed) =>
      Promise.resolve().then(() => {
        log.addSchema(epoch, change, changed);
      }),
    clock: systemClock,
    log: quiet,
    signal: abort.signal,
    idleSealMs: 200,
    ...options,
  });
  const failures: unknown[] = [];
  const over = ended.catch((error: unknown) => failures.push(error));
  let looked = false;
  return {
    get ended() {
      looked = true;
      return ended;
    },
    stop: async () => {
      abort.abort();
      await over;
      if (!looked && failures.length > 0) throw failures[0];
    },
  };
}

function shareOf(at: number, count: number): { first: number; last: number } {
  const width = LIMITS.storeSlots / count;
  return { first: Math.ceil(at * width), last: Math.ceil((at + 1) * width) - 1 };
}

/** The rows of every sealed window of one table, summed by weight: text of the row to its net weight. */
export async function replay(
  fixture: Fixture,
  source: CompiledSource,
  table: string,
  windows: readonly SealedWindow[],
): Promise<Map<string, number>> {
  const net = new Map<string, number>();
  for (const window of windows) {
    for (const [weight, ...row] of await windowRows(fixture, source, table, window)) {
      const key = rowText(row);
      const sum = (net.get(key) ?? 0) + Number(weight);
      if (sum === 0) net.delete(key);
      else net.set(key, sum);
    }
  }
  return net;
}

/** The weight and the captured values of each row of one sealed window, in the order of its ordinals. */
export async function windowRows(
  fixture: Fixture,
  source: CompiledSource,
  table: string,
  window: SealedWindow,
  store = fixture.store,
): Promise<readonly (readonly SqlValue[])[]> {
  const captured = source.tables.find((one) => one.table === table);
  if (captured === undefined) throw new Error(`${table} is not captured`);
  const { id } = fixture.store.dialect;
  const schemaVersion = window.schemaVersions.find((one) => one.table === table)?.version ?? 1;
  const name = changeTable({ sourceId: SOURCE_ID, table, schemaVersion });
  const columns = ['_w', ...captured.columns.map((column) => column.name)].map(id).join(', ');
  const key: SqlParam[] = [SOURCE_ID, window.epoch, window.day, window.window];
  return await store.use('test', async (connection) => {
    const { rows } = await connection.query(
      `SELECT ${columns} FROM ${id(name)} WHERE ${id('_source')} = ? AND ${id('_epoch')} = ? ` +
        `AND ${id('_day')} = ? AND ${id('_window')} = ? ORDER BY ${id('_n')}`,
      key,
    );
    return rows;
  });
}

/** The rows of the table itself, each with weight 1. */
export async function tableRows(
  fixture: Fixture,
  source: CompiledSource,
  table: string,
): Promise<Map<string, number>> {
  const captured = source.tables.find((one) => one.table === table);
  const { id } = fixture.source.dialect;
  const columns = (captured?.columns ?? []).map((column) => id(column.name)).join(', ');
  return await fixture.source.use('test', async (connection) => {
    const { rows } = await connection.query(`SELECT ${columns} FROM ${id(table)}`);
    return new Map(rows.map((row) => [rowText(row), 1]));
  });
}

/** What stands in the mark table for a window, or undefined. */
export async function markOf(
  fixture: Fixture,
  window: SealedWindow,
  store = fixture.store,
): Promise<readonly SqlValue[] | undefined> {
  const { id } = fixture.store.dialect;
  return await store.use('test', async (connection) => {
    const { rows } = await connection.query(
      `SELECT ${id('_rows')}, ${id('_checksum')} FROM ${id(MARK_TABLE)} WHERE ${id('_source')} = ? ` +
        `AND ${id('_epoch')} = ? AND ${id('_window')} = ?`,
      [SOURCE_ID, window.epoch, window.window],
    );
    return rows[0];
  });
}

/** One text per row; a DATETIME has as many digits as its column, so trailing zeros do not count. */
export function rowText(row: readonly SqlValue[]): string {
  return row
    .map((value) => {
      if (value === null) return 'NULL';
      if (value instanceof Uint8Array) return `x${Buffer.from(value).toString('hex')}`;
      if (typeof value === 'string')
        return `'${value.replace(/^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.?0*$/, '$1')}'`;
      return String(value);
    })
    .join('|');
}
