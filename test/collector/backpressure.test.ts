/** A store that is slow or stands still holds the source's server back, and nothing piles up between them. */
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setMutation } from '../../src/base/test-build-active.ts';
import { changeTable } from '../../src/job/index.ts';
import { openEngine, type SqlConnection, type SqlEngine } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import {
  endCollectors,
  SOURCE_ID,
  SealLog,
  compile,
  openFixture,
  startCollector,
  type Fixture,
  type RunningCollector,
} from './fixtures.ts';

const MIB = 1024 * 1024;
const ROWS = 24_000;
const ROW_BYTES = 4_096;
/**
 * Less than the transaction, more than all bounds (24 MiB) and the buffers of the connection together: Linux
 * lets a receive buffer grow to 32 MiB where `tcp_rmem` allows it, and a send buffer to 4.
 */
const TAKEN_MAX = 70 * MIB;
/** So many looks in a row without a byte more: the reader stands still. */
const QUIET_LOOKS = 12;

interface CountingProxy {
  readonly url: string;
  /** Bytes that the server has sent so far. */
  sent(): number;
  close(): void;
}

/** A TCP proxy that takes from the server only what the client takes. */
async function countingProxy(databaseUrl: string): Promise<CountingProxy> {
  const url = new URL(databaseUrl);
  const { hostname, port } = url;
  let sent = 0;
  const end = new AbortController();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    upstream.on('data', (data) => {
      sent += data.length;
    });
    upstream.pipe(client);
    client.pipe(upstream);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
      end.signal.addEventListener('abort', () => one.destroy());
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    sent: () => sent,
    close: () => {
      end.abort();
      server.close();
    },
  };
}

/** The same engine, whose inserts wait until `open` is called. */
function gated(engine: SqlEngine): { engine: SqlEngine; open: () => void; close: () => void } {
  let opened = (): void => undefined;
  let gate = Promise.resolve();
  const slow = (connection: SqlConnection): SqlConnection => ({
    id: connection.id,
    query: (sql, params) => connection.query(sql, params),
    stream: (...asked) => connection.stream(...asked),
    insertRows: async (table, columns, rows) => {
      await gate;
      await connection.insertRows(table, columns, rows);
    },
    batch: (statements) => connection.batch(statements),
    later: (sql, params) => connection.later(sql, params),
    begin: (mode) => connection.begin(mode),
    commit: () => connection.commit(),
    rollback: () => connection.rollback(),
    close: () => connection.close(),
    destroy: () => {
      connection.destroy();
    },
  });
  return {
    engine: {
      kind: engine.kind,
      dialect: engine.dialect,
      connect: async (options) => slow(await engine.connect(options)),
      use: (purpose, work, signal) => engine.use(purpose, work, signal),
      read: (purpose, work, signal) => engine.read(purpose, work, signal),
      endpoints: engine.endpoints,
      kill: (id) => engine.kill(id),
      close: () => engine.close(),
    },
    open: () => {
      opened();
    },
    close: () => {
      gate = new Promise((resolve) => {
        opened = resolve;
      });
    },
  };
}

describe.skipIf(mariadbMissing())('backpressure, MariaDB', () => {
  let fixture: Fixture;
  let proxy: CountingProxy;
  let source: SqlEngine;
  let collector: RunningCollector | undefined;
  let openStore = (): void => undefined;

  beforeEach(async () => {
    fixture = await openFixture('mysql');
    proxy = await countingProxy((fixture.address as { url: string }).url);
    source = openEngine({ kind: 'mysql', url: proxy.url });
    await fixture.exec(`CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, text TEXT CHARACTER SET ascii)`);
  });

  afterEach(async () => {
    setMutation('collector.socketNotPaused', false);
    openStore();
    const ended = collector;
    collector = undefined;
    await endCollectors([ended], async () => {
      await source.close();
      proxy.close();
      await fixture.close();
    });
  });

  /** Runs one large transaction while the store stands still, and returns the bytes taken of it meanwhile. */
  const takenMeanwhile = async (): Promise<{ taken: number; goOn: () => Promise<void> }> => {
    const compiled = await compile(fixture, ['item']);
    const log = new SealLog();
    const store = gated(fixture.store);
    const address = { kind: 'mysql', url: proxy.url } as const;
    collector = startCollector({ ...fixture, source, address, stores: [store.engine] }, compiled, log);
    await eventually(() => log.windows.length >= 1, { withinMs: 15_000, what: 'the snapshot' });
    store.close();
    openStore = store.open;
    const before = proxy.sent();
    await fixture.exec(
      `INSERT INTO item SELECT seq, REPEAT(CHAR(65 + seq % 26), ${ROW_BYTES}) FROM seq_1_to_${ROWS}`,
    );
    let last = -1;
    let looks = 0;
    await eventually(
      () => {
        const now = proxy.sent();
        // Answers to the collector's own questions are small.
        looks = now - last < 10_000 && now - before > MIB ? looks + 1 : 0;
        last = now;
        return looks >= QUIET_LOOKS;
      },
      { withinMs: 20_000, everyMs: 25, what: 'no more bytes are taken' },
    );
    const goOn = async (): Promise<void> => {
      store.open();
      const rows = (): bigint[] =>
        log.windows.map(({ shards }) => shards[0]?.rows ?? 0n).filter((n) => n > 0n);
      await eventually(() => rows().length > 0, { withinMs: 30_000, what: 'the window is sealed' });
      // One transaction is one window, however it came.
      expect(rows()).toEqual([BigInt(ROWS)]);
      const table = changeTable({ sourceId: SOURCE_ID, table: 'item', schemaVersion: 1 });
      const sums = 'SELECT COUNT(*), SUM(id), SUM(CRC32(CONCAT(id, text))) FROM';
      const shown = [
        await fixture.store.use('test', (connection) => connection.query(`${sums} ${table}`)),
        await fixture.source.use('test', (connection) => connection.query(`${sums} item`)),
      ].map(({ rows: [row] }) => row);
      expect(shown[0]).toEqual(shown[1]);
    };
    return { taken: proxy.sent() - before, goOn };
  };

  it('stops reading while the store stands still, and goes on with the same transaction', async () => {
    const { taken, goOn } = await takenMeanwhile();
    expect(taken).toBeLessThan(TAKEN_MAX);
    await goOn();
  });

  it('is seen to fail when the socket is not paused', async () => {
    setMutation('collector.socketNotPaused', true);
    const { taken } = await takenMeanwhile();
    expect(taken).toBeGreaterThan(TAKEN_MAX);
  });
});
