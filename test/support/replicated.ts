/**
 * Real replication for tests: a primary and replicas as processes of their own, that follow each other by
 * GTID. What happens to real groups can be done to them: a server is killed, stands still, lags, or is
 * promoted before it had the last rows.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { startPrivateServer, type PrivateServer } from '../../src/dev/private-mysql.ts';
import { ask } from './broker.ts';
import { eventually } from './eventually.ts';

/** What Tidemark is given: it may not write where `read_only` is on. */
const APP = 'app';
const APP_PRIVILEGES =
  'SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, CREATE VIEW, SHOW VIEW, LOCK TABLES, ' +
  'CREATE TEMPORARY TABLES, RELOAD, BINLOG MONITOR, REPLICATION SLAVE, SLAVE MONITOR';

const OPTIONS = ['--log-slave-updates=ON', '--innodb-log-file-size=8M', '--innodb-buffer-pool-size=32M'];

export class Replicated {
  readonly #folder: string;
  readonly #servers: ReplicatedServer[];

  private constructor(folder: string, servers: ReplicatedServer[]) {
    this.#folder = folder;
    this.#servers = servers;
  }

  /** Server 0 is the primary, the others follow it; each has an empty database of the name. */
  static async start(options: { readonly replicas: number; readonly database: string }): Promise<Replicated> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-replicated-'));
    const names = Array.from({ length: options.replicas + 1 }, (_, at) => `server${at}`);
    const servers = await Promise.all(
      names.map((name) => ReplicatedServer.start(join(folder, name), options.database)),
    );
    const group = new Replicated(folder, servers);
    const [primary, ...replicas] = servers;
    if (primary === undefined) throw new Error('a group has a primary');
    for (const replica of replicas) await replica.follow(primary);
    await primary.query(`CREATE USER '${APP}'@'127.0.0.1' IDENTIFIED BY '${APP}'`);
    await primary.query(`GRANT ${APP_PRIVILEGES} ON *.* TO '${APP}'@'127.0.0.1'`);
    await primary.query(`CREATE DATABASE ${options.database}`);
    for (const replica of replicas) await replica.catchUp(primary);
    return group;
  }

  server(at: number): ReplicatedServer {
    const server = this.#servers[at];
    if (server === undefined) throw new Error(`there is no server ${at}`);
    return server;
  }

  /** Ends every server that still runs. */
  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

export class ReplicatedServer {
  readonly #folder: string;
  readonly #database: string;
  readonly port: number;
  #process: PrivateServer;

  private constructor(folder: string, database: string, server: PrivateServer) {
    this.#folder = folder;
    this.#database = database;
    this.port = server.port;
    this.#process = server;
  }

  static async start(folder: string, database: string): Promise<ReplicatedServer> {
    const [data, address] = await Promise.all([ask({ want: 'mariadb data' }), ask({ want: 'address' })]);
    await mkdir(folder, { recursive: true });
    await promisify(execFile)('cp', ['-r', data, join(folder, 'data')]);
    return new ReplicatedServer(folder, database, await launch(folder, Number(address.split(':')[1])));
  }

  /** As Tidemark comes in. */
  get url(): string {
    return `mysql://${APP}:${APP}@127.0.0.1:${this.port}/${this.#database}`;
  }

  /** By the account that may do everything, `read_only` or not. */
  async query(sql: string): Promise<RowDataPacket[]> {
    const connection = await mysql.createConnection(this.#process.url);
    try {
      const [rows] = await connection.query<RowDataPacket[]>(sql);
      return rows;
    } finally {
      await connection.end();
    }
  }

  /** Runs a dump's statements over the server's database, part by part, with something in between. */
  async load(parts: readonly string[], between = (): Promise<unknown> => Promise.resolve()): Promise<void> {
    const connection = await mysql.createConnection({ uri: this.#process.url, multipleStatements: true });
    try {
      for (const [at, part] of parts.entries()) {
        if (at > 0) await between();
        await loadPart(connection, part);
      }
    } finally {
      await connection.end();
    }
  }

  /** Begins a transaction with `sql`, whose locks stand until they are released. */
  async hold(sql: string): Promise<{ release(): Promise<void> }> {
    const connection = await mysql.createConnection(this.#process.url);
    await connection.query('BEGIN');
    await connection.query(sql);
    return {
      release: async () => {
        await connection.query('ROLLBACK');
        await connection.end();
      },
    };
  }

  /**
   * How many transactions wait for a row's lock. The counter is asked, not `innodb_trx`: whoever looks at
   * that table more often than each 100 ms is shown the same rows for ever, as they were at the first look.
   */
  async waiting(): Promise<number> {
    const [row] = await this.query("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'");
    return Number(row?.['Value']);
  }

  /** Becomes a replica of `primary`, from what it has on. */
  async follow(primary: ReplicatedServer): Promise<void> {
    const { password, username } = new URL(primary.#process.url);
    await this.query('SET GLOBAL read_only = ON');
    await this.query(
      `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${primary.port}, ` +
        `MASTER_USER = '${username}', MASTER_PASSWORD = '${password}', MASTER_USE_GTID = slave_pos, ` +
        'MASTER_CONNECT_RETRY = 1',
    );
    await this.query('START SLAVE');
  }

  /** Waits until it has applied what `primary` has committed so far. */
  async catchUp(primary: ReplicatedServer): Promise<void> {
    const [row] = await primary.query('SELECT @@gtid_binlog_pos AS position');
    const position = String(row?.['position']);
    const [done] = await this.query(`SELECT MASTER_GTID_WAIT('${position}', 20) AS waited`);
    if (Number(done?.['waited']) !== 0) throw new Error(`the replica did not reach ${position}`);
  }

  /** Lags from now on, until {@link goOn}. */
  async lag(): Promise<void> {
    await this.query('STOP SLAVE SQL_THREAD');
  }

  /** Hears nothing of its primary any more: what the primary commits from now on is lost with it. */
  async goDeaf(): Promise<void> {
    await this.query('STOP SLAVE IO_THREAD');
  }

  async goOn(): Promise<void> {
    await this.query('START SLAVE');
  }

  /** Takes writes from now on, with what it has. */
  async promote(): Promise<void> {
    await this.query('STOP SLAVE');
    await this.query('RESET SLAVE ALL');
    await this.query('SET GLOBAL read_only = OFF');
  }

  /** Ends at once, without a word to anyone. */
  async kill(): Promise<void> {
    process.kill(this.#process.pid, 'SIGKILL');
    await this.#process.ended;
    await this.#process.stop();
  }

  /** Starts again after {@link kill}, where it was; it takes no writes until it is told to. */
  async restart(): Promise<void> {
    this.#process = await launch(this.#folder, this.port, ['--read-only=ON']);
    await eventually(async () => (await this.query('SELECT 1')).length === 1, { withinMs: 20_000 });
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }
}

/** Whoever writes there may make a table between a dump's DROP and CREATE: then the part is loaded again. */
async function loadPart(connection: Connection, part: string): Promise<void> {
  const load = async (): Promise<boolean> => {
    try {
      await connection.query('UNLOCK TABLES');
      await connection.query(part);
      return true;
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      // A driver's error carries the whole dump.
      if (code !== 'ER_TABLE_EXISTS_ERROR') throw new Error(`the dump is not loaded: ${message}`);
      return false;
    }
  };
  await eventually(load, { withinMs: 20_000, everyMs: 100, what: 'a part of a dump to be loaded' });
}

function launch(folder: string, port: number, more: readonly string[] = []): Promise<PrivateServer> {
  return startPrivateServer({
    folder,
    port,
    name: 'replicated server',
    durable: false,
    options: [...OPTIONS, ...more],
  });
}
