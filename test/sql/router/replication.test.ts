import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock, TidemarkError } from '../../../src/base/index.ts';
import { GroupEngine, mysqlDialect, openMysql, type SqlConnection } from '../../../src/sql/index.ts';
import { eventually } from '../../support/eventually.ts';
import { mariadbMissing } from '../../support/mariadb.ts';
import { Replicated } from '../../support/replicated.ts';

const silent = { info: () => undefined, warn: () => undefined };

describe.skipIf(mariadbMissing())('a real primary with a replica', () => {
  let servers: Replicated;
  let group: GroupEngine;
  beforeAll(async () => {
    servers = await Replicated.start({ replicas: 1, database: 'shop' });
    const members = [servers.server(0), servers.server(1)].map(({ url, port }) => ({
      label: String(port),
      engine: openMysql({ kind: 'mysql', url }, { connectMs: 2_000 }),
    }));
    group = new GroupEngine(mysqlDialect, members, { clock: systemClock, log: silent });
  });
  afterAll(async () => {
    await group.close();
    await servers.stop();
  });

  const portOf = async (connection: SqlConnection): Promise<number> => {
    const { rows } = await connection.query('SELECT @@port');
    return Number(rows[0]?.[0]);
  };
  const has = (id: bigint) => async (connection: SqlConnection) => {
    const { rows } = await connection.query('SELECT 1 FROM seen WHERE id = ?', [id]);
    if (rows.length === 0) throw new TidemarkError('WINDOW_INCOMPLETE', `${id} is not here`);
    return portOf(connection);
  };
  const write = (sql: string): Promise<unknown> => group.use('test', (connection) => connection.query(sql));

  it('writes there, reads here, and reads there what is not here yet', async () => {
    const [primary, replica] = [servers.server(0), servers.server(1)];
    await write('CREATE TABLE seen (id BIGINT NOT NULL PRIMARY KEY)');
    await write('INSERT INTO seen VALUES (1)');
    await replica.catchUp(primary);
    expect(await group.use('test', portOf)).toBe(primary.port);
    expect(await group.read('test', has(1n))).toBe(replica.port);
    await replica.lag();
    await write('INSERT INTO seen VALUES (2)');
    expect(await group.read('test', has(2n))).toBe(primary.port);
    await eventually(() => group.states()[1]?.lagMs === Number.POSITIVE_INFINITY, { withinMs: 5_000 });
    expect(await group.read('test', has(1n))).toBe(primary.port);
    await replica.goOn();
    await replica.catchUp(primary);
    await eventually(async () => (await group.read('test', has(2n))) === replica.port, { withinMs: 10_000 });
  });

  it('goes on reading when the replica is killed, and uses it again when it is back', async () => {
    const [primary, replica] = [servers.server(0), servers.server(1)];
    await replica.kill();
    expect(await group.read('test', has(2n))).toBe(primary.port);
    await replica.restart();
    await eventually(async () => (await group.read('test', has(2n))) === replica.port, { withinMs: 20_000 });
  });

  it('follows a failover, and says that what the new primary lacks is missing', async () => {
    const [former, promoted] = [servers.server(0), servers.server(1)];
    await promoted.goDeaf();
    await write('INSERT INTO seen VALUES (3)');
    const collector = await group.connect({ purpose: 'collector' });
    await promoted.promote();
    await eventually(async () => (await group.use('test', portOf)) === promoted.port, { withinMs: 5_000 });
    // The former primary still takes writes, but nobody here gives it any.
    await expect(collector.query('INSERT INTO seen VALUES (4)')).rejects.toMatchObject({
      code: 'DB_UNREACHABLE',
    });
    expect(await former.query('SELECT id FROM shop.seen WHERE id > 3')).toEqual([]);
    await expect(group.read('test', has(3n))).rejects.toMatchObject({ code: 'WINDOW_INCOMPLETE' });
    await former.query('SET GLOBAL read_only = ON');
    const alone = openMysql({ kind: 'mysql', url: former.url });
    const late = alone.use('test', (connection) => connection.query('INSERT INTO seen VALUES (5)'));
    await expect(late).rejects.toMatchObject({ code: 'DB_READ_ONLY' });
    await alone.close();
  });
});
