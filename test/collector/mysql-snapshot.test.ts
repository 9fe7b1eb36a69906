/**
 * The snapshot of a MySQL server, whose global lock must not outlive a failure; the server is played here.
 */
import { afterEach, expect, it } from 'vitest';
import { TidemarkError, systemClock } from '../../src/base/index.ts';
import { BinlogSource } from '../../src/collector/binlog/binlog-source.ts';
import { rule } from '../support/rule.ts';
import { mysqlDialect, type ResultSet, type SqlConnection, type SqlEngine } from '../../src/sql/index.ts';

interface Played {
  readonly source: BinlogSource;
  /** Whether a connection holds FLUSH TABLES WITH READ LOCK. */
  readonly isLocked: () => boolean;
}

const played: Played[] = [];

/** A server on which `failing` fails: a statement's text, or `begin`. */
function play(failing: string): Played {
  let holder: string | undefined;
  let next = 0;
  const connect = (): Promise<SqlConnection> => {
    next += 1;
    const id = String(next);
    const release = (): void => {
      if (holder === id) holder = undefined;
    };
    const attempt = (what: string): Promise<void> =>
      what === failing ? Promise.reject(new TidemarkError('DB_FAILED', what)) : Promise.resolve();
    const answer = (sql: string): ResultSet => {
      if (sql === 'FLUSH TABLES WITH READ LOCK') holder = id;
      if (sql === 'UNLOCK TABLES') release();
      const value = sql === 'SELECT VERSION()' ? ['8.0.36'] : ['1', 'a:1-5'];
      return { columns: [], rows: [sql === 'SELECT @@GLOBAL.gtid_executed' ? ['a:1-5'] : value], changes: 0 };
    };
    return Promise.resolve({
      id,
      query: (sql: string) => attempt(sql).then(() => answer(sql)),
      batch: () => Promise.resolve([]),
      later: () => Promise.resolve(),
      stream: () => Promise.resolve(),
      insertRows: () => Promise.resolve(),
      begin: () => attempt('begin'),
      commit: () => Promise.resolve(),
      rollback: () => Promise.resolve(),
      close: () => {
        release();
        return Promise.resolve();
      },
      destroy: release,
    });
  };
  const engine: SqlEngine = {
    kind: 'mysql',
    dialect: mysqlDialect,
    connect,
    use: async (_, work) => work(await connect()),
    read: async (_, work) => work(await connect()),
    endpoints: [],
    kill: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const url = 'mysql://user:secret@127.0.0.1:3306/shop';
  const source = new BinlogSource({ engine, url, tables: [], clock: systemClock });
  const one = { source, isLocked: () => holder !== undefined };
  played.push(one);
  return one;
}

afterEach(async () => {
  for (const { source } of played.splice(0)) await source.close();
});

it.each(['begin', 'SELECT @@GLOBAL.gtid_executed', 'UNLOCK TABLES'])(
  'lets go of the lock when this fails: %s',
  async (failing) => {
    const { source, isLocked } = play(failing);
    await expect(source.snapshot(() => Promise.resolve(true))).rejects.toMatchObject({ code: 'DB_FAILED' });
    expect(isLocked()).toBe(false);
  },
);

it('lets go of the lock as soon as the position is known', async () => {
  const { source, isLocked } = play('nothing');
  await expect(source.snapshot(() => Promise.resolve(true))).resolves.toMatchObject({ position: 'a:1-5' });
  expect(isLocked()).toBe(false);
});

rule('collector.lockPerChunk', 'is one chunk: the lock is taken once', async () => {
  const { source } = play('nothing');
  await source.snapshot(() => Promise.resolve(true));
  expect(source.hasChunks).toBe(false);
});
