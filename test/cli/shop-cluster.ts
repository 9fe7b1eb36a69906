/**
 * A cluster started from the command line, for a job with one source, one store shard and one report
 * database, each a database of its own on MariaDB: SHOP_URL, STORE_URL and REPORTS_URL in a job file.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { must } from '../../src/base/index.ts';
import { Terminals } from '../docs/terminals.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, type FreshDatabase } from '../support/mariadb.ts';

const TIDEMARK = 'node dist/cli/main.js';
const ROLES = ['SHOP', 'STORE', 'REPORTS'] as const;

export interface ShopCluster {
  /** A connection to the source that takes several statements at once. */
  readonly shop: Connection;
  readonly terminals: Terminals;
  /** Runs a command to its end; what it wrote to stdout. */
  readonly tidemark: (words: string) => Promise<string>;
  /** Writes `job.yaml` and applies it. */
  readonly apply: (job: string, options?: string) => Promise<string>;
  /** What a report shows, in the order of its first column. */
  readonly view: (report: string) => Promise<RowDataPacket[]>;
  readonly stop: () => Promise<void>;
}

/**
 * Starts one coordinator and one executor, and waits until `job` could be applied; it is not. `name` begins
 * the databases' names, `tables` makes those of the source.
 */
export async function startShopCluster(name: string, tables: string, job: string): Promise<ShopCluster> {
  const databases = new Map<(typeof ROLES)[number], FreshDatabase>();
  const environment: Record<string, string> = {};
  for (const role of ROLES) {
    const database = await freshDatabase(`${name}_${role.toLowerCase()}`);
    databases.set(role, database);
    environment[`${role}_URL`] = database.url;
  }
  const uri = must(databases.get('SHOP'), 'the source').url;
  const shop = await mysql.createConnection({ uri, multipleStatements: true });
  await shop.query(tables);
  const endpoint = await ask({ want: 'address' });
  const peer = await ask({ want: 'address' });
  const terminals = await Terminals.inClone(environment);
  const tidemark = (words: string): Promise<string> =>
    terminals.run(`${TIDEMARK} ${words} --endpoints ${endpoint}`);
  const apply = async (text: string, options = ''): Promise<string> => {
    await writeFile(join(terminals.folder, 'job.yaml'), text);
    return tidemark(`apply -f job.yaml ${options}`);
  };
  const reports = must(databases.get('REPORTS'), 'the report database').name;
  const view = async (report: string): Promise<RowDataPacket[]> =>
    (await shop.query<RowDataPacket[]>(`SELECT * FROM ${reports}.${report} ORDER BY 1`))[0];
  const stop = async (): Promise<void> => {
    await terminals.close();
    await shop.end();
    for (const database of databases.values()) await database.drop();
  };
  await terminals.open(
    `${TIDEMARK} coordinator start --data c1 --peer-listen ${peer} --client-listen ${endpoint}`,
  );
  await terminals.open(`${TIDEMARK} executor start --name e1 --endpoints ${endpoint}`);
  await tidemark('cluster init');
  await eventually(() => apply(job, '--dry-run'), { withinMs: 20_000, everyMs: 300 });
  return { shop, terminals, tidemark, apply, view, stop };
}
