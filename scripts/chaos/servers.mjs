// MariaDB processes of a chaos run, alone or as a primary and a replica that follow each other by GTID, and
// what may happen to them.
import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { prepareServerFolder } from '../../dist/dev/private-mysql-folder.js';
import { findServerProgram } from '../../dist/dev/private-mysql-program.js';
import { startPrivateServer } from '../../dist/dev/private-mysql.js';
import { within } from './timing.mjs';

export const DATABASE = 'chaos';
const CATCH_UP_WITHIN_S = 60;
/** Executors come in by this account: it may not write where `read_only` is on. */
const APP = 'app';
const APP_PRIVILEGES =
  'SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, CREATE VIEW, SHOW VIEW, LOCK TABLES, ' +
  'CREATE TEMPORARY TABLES, RELOAD, BINLOG MONITOR, REPLICATION SLAVE, SLAVE MONITOR';

const shell = (line) => promisify(execFile)('sh', ['-c', line]);

const OPTIONS = [
  '--log-slave-updates=ON',
  '--innodb-log-file-size=8M',
  '--innodb-buffer-pool-size=32M',
  // A killed process loses no commit by this, a machine that crashes does: none crashes here.
  '--innodb-flush-log-at-trx-commit=2',
];

/** A folder that no server has used yet: a copy of it is made much faster than another. */
export async function makeTemplate(folder) {
  const { dataFolder } = await prepareServerFolder(folder, await findServerProgram());
  return dataFolder;
}

export class Server {
  #template;
  #folder;
  #process;
  name;

  static async start(name, folder, template) {
    const server = new Server();
    server.name = name;
    server.#folder = folder;
    server.#template = template;
    await server.#copyTemplate();
    await server.#launch([]);
    return server;
  }

  /** By the account that may do everything. */
  get rootUrl() {
    return `${this.#process.url}/${DATABASE}`;
  }

  get url() {
    return `mysql://${APP}:${APP}@127.0.0.1:${this.#process.port}/${DATABASE}`;
  }

  get pid() {
    return this.#process.pid;
  }

  /** `then`: a second statement on the same connection. */
  async query(sql, values, then) {
    const connection = await mysql.createConnection({
      uri: this.#process.url,
      supportBigNumbers: true,
      bigNumberStrings: true,
    });
    try {
      const [rows] = await connection.query(sql, values);
      return then === undefined ? rows : (await connection.query(then))[0];
    } finally {
      connection.destroy();
    }
  }

  /** On each server by itself: accounts are not replicated here. */
  async makeAccount() {
    const account = `'${APP}'@'127.0.0.1'`;
    const grant = `GRANT ${APP_PRIVILEGES} ON *.* TO ${account} IDENTIFIED BY '${APP}'`;
    await this.query('SET sql_log_bin = 0', undefined, grant);
  }

  async makeDatabase() {
    await this.makeAccount();
    await this.query(`CREATE DATABASE ${DATABASE} CHARACTER SET utf8mb4`);
  }

  /** Becomes a replica of `primary`, from what it has on. */
  async follow(primary) {
    const { username, password, port } = new URL(primary.#process.url);
    await this.query('SET GLOBAL read_only = ON');
    await this.query(
      `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port}, MASTER_USER = '${username}',
       MASTER_PASSWORD = '${password}', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1`,
    );
    await this.query('START SLAVE');
  }

  /** Waits until it has applied what `primary` has committed so far; false if it does not in time. */
  async catchUp(primary) {
    const [{ position }] = await primary.query('SELECT @@gtid_binlog_pos AS position');
    const [{ waited }] = await this.query('SELECT MASTER_GTID_WAIT(?, ?) AS waited', [
      position,
      CATCH_UP_WITHIN_S,
    ]);
    return Number(waited) === 0;
  }

  async promote() {
    await this.query('STOP SLAVE');
    await this.query('RESET SLAVE ALL');
    await this.query('SET GLOBAL read_only = OFF');
  }

  /** kill -9. */
  async kill() {
    process.kill(this.pid, 'SIGKILL');
    await this.#process.ended;
    await this.#process.stop();
  }

  /** Starts again where it was, after {@link kill}; takes no writes until it is told to. */
  async restart() {
    await this.#launch(['--read-only=ON'], this.#process.port);
  }

  /** After {@link kill}: everything that it had is gone; it follows `primary` from a copy of it. */
  async rebuild(primary) {
    await this.#copyTemplate();
    await this.#launch(['--read-only=ON'], this.#process.port);
    await this.makeAccount();
    const dump = `mariadb-dump ${primary.#account} --single-transaction --gtid --master-data=1`;
    const load = `mariadb --init-command='SET sql_log_bin=0' ${this.#account}`;
    await shell(`${dump} --databases ${DATABASE} | ${load}`);
    await this.follow(primary);
  }

  /** As of one moment, while others write. */
  async dump(file) {
    const options = '--single-transaction --skip-lock-tables';
    await shell(`mariadb-dump ${this.#account} ${options} --databases ${DATABASE} > '${file}'`);
  }

  /** Takes the place of what it has; its replica follows. */
  async load(file) {
    await shell(`mariadb ${this.#account} < '${file}'`);
  }

  get #account() {
    const { username, password, port } = new URL(this.#process.url);
    return `-h127.0.0.1 -P${port} -u${username} -p${password}`;
  }

  stop() {
    return this.#process.stop();
  }

  async #copyTemplate() {
    await mkdir(this.#folder, { recursive: true });
    await rm(join(this.#folder, 'data'), { recursive: true, force: true });
    await promisify(execFile)('cp', ['-r', this.#template, join(this.#folder, 'data')]);
  }

  async #launch(more, port) {
    this.#process = await startPrivateServer({
      folder: this.#folder,
      name: this.name,
      ...(port === undefined ? {} : { port }),
      options: [...OPTIONS, ...more],
    });
  }
}

/** A primary and a replica. */
export class Group {
  #servers;
  #primary = 0;

  static async start(name, folder, template) {
    const group = new Group();
    group.#servers = await Promise.all(
      ['a', 'b'].map((letter) => Server.start(`${name}${letter}`, join(folder, name + letter), template)),
    );
    await group.replica.makeAccount();
    await group.replica.follow(group.primary);
    await group.primary.makeDatabase();
    if (!(await group.replica.catchUp(group.primary))) throw new Error(`${name} does not replicate`);
    return group;
  }

  get servers() {
    return this.#servers;
  }

  get primary() {
    return this.#servers[this.#primary];
  }

  get replica() {
    return this.#servers[1 - this.#primary];
  }

  /** The replica takes writes from now on, with what it has. */
  async promote() {
    await this.replica.promote();
    this.#primary = 1 - this.#primary;
  }

  /**
   * The replica hears nothing of the primary any more; after `lost` the primary dies (or goes on answering)
   * and the replica is promoted. Resolves with the former primary and what `lost` gave.
   */
  async failOver(lost, { answers = false } = {}) {
    const former = this.primary;
    await this.replica.query('STOP SLAVE IO_THREAD');
    const found = await lost();
    if (!answers) await former.kill();
    // What it had fetched already it applies before it is promoted.
    await this.#applyAll();
    await this.promote();
    return { former, ...found };
  }

  async #applyAll() {
    await within(CATCH_UP_WITHIN_S * 1_000, async () => {
      const [status] = await this.replica.query('SHOW SLAVE STATUS');
      return status.Slave_SQL_Running_State?.startsWith('Slave has read all relay log') ?? false;
    });
  }

  async stop() {
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}
