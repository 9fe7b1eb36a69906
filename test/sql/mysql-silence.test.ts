import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openMysql, type SqlConnection, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { silentProxyOf } from '../support/silent-proxy.ts';
import { codeOf } from './engine-contract.ts';

describe.skipIf(mariadbMissing())('a MySQL server that falls silent without closing anything', () => {
  let database: FreshDatabase;
  let proxy: Awaited<ReturnType<typeof silentProxyOf>>;
  let engine: SqlEngine;

  beforeEach(async () => {
    database = await freshDatabase('silence');
    proxy = await silentProxyOf(database.url);
    engine = openMysql({ kind: 'mysql', url: proxy.url }, { statementMs: 400, connectMs: 400 });
    await engine.use('test', (connection) => connection.query('CREATE TABLE t (n BIGINT)'));
  });

  afterEach(async () => {
    await engine.close();
    await proxy.close();
    await database.drop();
  });

  const silently = (work: (connection: SqlConnection) => Promise<unknown>) =>
    codeOf(
      engine.use('test', (connection) => {
        proxy.fallSilent();
        return work(connection);
      }),
    );

  it('costs a read no more than the deadline, and the next one no more than that of connecting', async () => {
    expect(await silently((connection) => connection.query('SELECT 1'))).toBe('DB_UNREACHABLE');
    expect(await codeOf(engine.use('test', (connection) => connection.query('SELECT 1')))).toBe(
      'DB_UNREACHABLE',
    );
  });

  it('leaves the outcome of a write outside a transaction unknown', async () => {
    expect(await silently((connection) => connection.query('INSERT INTO t VALUES (1)'))).toBe(
      'DB_OUTCOME_UNKNOWN',
    );
  });

  it('leaves the outcome of a COMMIT unknown', async () => {
    const code = await codeOf(
      engine.use('test', async (connection) => {
        await connection.begin('write');
        await connection.query('INSERT INTO t VALUES (1)');
        proxy.fallSilent();
        await connection.commit();
      }),
    );
    expect(code).toBe('DB_OUTCOME_UNKNOWN');
  });

  it('does not count the time between statements', async () => {
    const rows = await engine.use('test', async (connection) => {
      await connection.query('SELECT SLEEP(0.25)');
      await connection.query('SELECT SLEEP(0.25)');
      return (await connection.query('SELECT 1')).rows;
    });
    expect(rows).toEqual([[1n]]);
  });
});
