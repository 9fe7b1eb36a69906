/**
 * A real MariaDB for tests: one private server for the whole run, started by the first test that asks.
 *
 * A suite that needs it says `describe.skipIf(mariadbMissing())`. Skipping is not passing: when the server is
 * missing and `--without-mysql` was not given, `npm test` reports what was left out and ends non-zero.
 */
import { randomBytes } from 'node:crypto';
import mysql from 'mysql2/promise';
import { inject } from 'vitest';
import { ask } from './broker.ts';

/** True when the tests that need a server cannot run: it is not installed, or they were declined. */
export function mariadbMissing(): boolean {
  return inject('mariadb') !== 'present';
}

/**
 * Resolves with `mysql://user:password@127.0.0.1:port` of the run's server; the account may do everything.
 */
export function mariadbUrl(): Promise<string> {
  return ask({ want: 'mariadb' });
}

export interface FreshDatabase {
  readonly name: string;
  /** With the database as its path. */
  readonly url: string;
  drop(): Promise<void>;
}

/** Makes an empty database `<prefix>_<random>` on the run's server. */
export async function freshDatabase(prefix: string): Promise<FreshDatabase> {
  const server = await mariadbUrl();
  const name = `${prefix}_${randomBytes(4).toString('hex')}`;
  const run = async (sql: string): Promise<void> => {
    const connection = await mysql.createConnection(server);
    try {
      await connection.query(sql);
    } finally {
      await connection.end();
    }
  };
  await run(`CREATE DATABASE \`${name}\``);
  return { name, url: `${server}/${name}`, drop: () => run(`DROP DATABASE IF EXISTS \`${name}\``) };
}
