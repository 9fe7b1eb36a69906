// npm run bench:collector [-- --rows N --runs N --per-transaction N --giant]
// How fast one collector takes changes from a binlog into a store: both are MariaDB servers of their own on
// this machine, with their durable defaults, and each change is in the binlog before the collector starts.
// Beside it, interleaved: the reader alone; the store alone, which copies the same change rows
// (INSERT ... SELECT); and mysqlbinlog | mariadb, which applies the same binlog to an empty table.
// --giant: all rows in one transaction, and the most memory that the collector took.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import mysql from 'mysql2/promise';
import { systemClock } from '../dist/base/index.js';
import { createStoreTables, inspectSource, openChangeSource, runCollector } from '../dist/collector/index.js';
import { startPrivateServer } from '../dist/dev/private-mysql.js';
import { changeTable } from '../dist/job/index.js';
import { openEngine } from '../dist/sql/index.js';
import { median } from './cluster.mjs';

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '200000' },
    runs: { type: 'string', default: '3' },
    'per-transaction': { type: 'string', default: '10' },
    giant: { type: 'boolean', default: false },
  },
});
const ROWS = Number(options.rows);
const PER = options.giant ? ROWS : Number(options['per-transaction']);
const RUNS = Number(options.runs);
/** Most memory of the process with a transaction of any size, in MiB. */
const GIANT_MEMORY_MAX = 400;
const rate = (perSecond) => Math.round(perSecond).toLocaleString('en').padStart(9);
const say = (line) => process.stdout.write(`${line}\n`);

const TABLE = `orders (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY, shop INT UNSIGNED NOT NULL,
  status ENUM('new','paid','sent') NOT NULL,
  amount DECIMAL(12,2) NOT NULL, quantity INT NOT NULL, note VARCHAR(60), created DATETIME(3) NOT NULL)`;

const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
const servers = {};
for (const name of ['source', 'store']) {
  servers[name] = await startPrivateServer({ folder: join(folder, name), name });
}
const engines = {};
async function use(name, ...statements) {
  let result;
  await engines[name].use('bench', async (connection) => {
    for (const statement of statements) result = await connection.query(statement);
  });
  return result?.rows;
}

/** Fills the source: half of the changes are inserts, half are updates (two change rows each). */
async function fill() {
  const first = Math.ceil(ROWS / 3);
  const each = Math.max(1, Math.min(PER, first));
  const connection = await mysql.createConnection(`${servers.source.url}/shop`);
  await connection.query(`CREATE PROCEDURE fill() BEGIN
    DECLARE at INT DEFAULT 0;
    WHILE at < ${first} DO
      INSERT INTO orders SELECT at + seq, seq % 997, 1 + seq % 3, seq * 1.25, seq % 9,
        CONCAT('note of ', at + seq),
        '2026-11-22 10:00:00.123' FROM seq_1_to_${each} WHERE at + seq <= ${first};
      SET at = at + ${each};
    END WHILE;
    SET at = 0;
    WHILE at < ${first} DO
      UPDATE orders SET amount = amount + 1, status = 2 WHERE id > at AND id <= at + ${each};
      SET at = at + ${each};
    END WHILE;
  END`);
  await connection.query('SET SESSION unique_checks = 0');
  if (options.giant) await connection.query('START TRANSACTION');
  await connection.query('CALL fill()');
  await connection.query('COMMIT');
  // Who applies the log again and again would else meet it.
  await connection.query('DROP PROCEDURE fill');
  await connection.end();
  return first * 3;
}

/** Processor seconds of a process so far. */
function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
const cpuHere = () => (({ user, system }) => (user + system) / 1e6)(process.cpuUsage());

/** Group commits of the store so far: its binlog and InnoDB's log are synced for each. */
async function syncs() {
  const [[, count]] = await use('store', `SHOW GLOBAL STATUS LIKE 'Binlog_group_commits'`);
  return Number(count);
}

async function measured(rows, work) {
  const syncsBefore = await syncs();
  const before = { here: cpuHere(), source: cpuOf(servers.source.pid), store: cpuOf(servers.store.pid) };
  const began = performance.now();
  const extra = (await work()) ?? 0;
  const seconds = (performance.now() - began) / 1000;
  const micros = (used) => (used / rows) * 1e6;
  return {
    rate: rows / seconds,
    syncs: (await syncs()) - syncsBefore,
    here: micros(cpuHere() - before.here + extra),
    source: micros(cpuOf(servers.source.pid) - before.source),
    store: micros(cpuOf(servers.store.pid) - before.store),
  };
}

const shard = { name: 's0', engine: 'mysql', replicas: [], slots: [{ first: 0, last: 1023 }] };
const quiet = { info: () => undefined, warn: () => undefined };

async function compiled() {
  const tables = await inspectSource(engines.source, { tables: [{ table: 'orders' }] });
  const database = { mysql: { url: { env: 'NONE' } } };
  const window = { lengthMs: 3000, rowsMax: 50_000, bytesMax: 32 * 1024 * 1024 };
  return { format: 1, name: 'bench', engine: 'mysql', database, tables, window };
}

async function collect(source, sourceId, from, end) {
  await createStoreTables(engines.store, sourceId, source);
  const abort = new AbortController();
  let rows = 0;
  let windows = 0;
  const changes = openChangeSource({ source, engines: sourceEngines(), clock: systemClock });
  await changes.head();
  await runCollector({
    sourceId,
    epoch: BigInt(sourceId),
    leaderTerm: 1n,
    lastWindow: 1,
    position: from,
    cursor: '',
    source,
    topology: { format: 1, version: 1, shards: [{ ...shard, database: source.database }] },
    engines: { ...sourceEngines(), shards: new Map([['s0', engines.store]]) },
    seal: (window) => {
      rows += Number(window.shards[0].rows);
      windows += 1;
      if (changes.includes(window.to, end)) abort.abort();
      return Promise.resolve();
    },
    addSchema: () => Promise.reject(new Error('no table is altered here')),
    lost: [],
    reseal: () => Promise.reject(new Error('no window is lost here')),
    clock: systemClock,
    log: quiet,
    signal: abort.signal,
  });
  await changes.close();
  return { rows, windows };
}

const sourceEngines = () => ({
  source: engines.source,
  sourceAddress: { kind: 'mysql', url: `${servers.source.url}/shop` },
});

async function readOnly(source, from, end) {
  const changes = openChangeSource({ source, engines: sourceEngines(), clock: systemClock });
  await changes.head();
  const reader = await changes.read(from);
  for (let reached = from; !changes.includes(reached, end);) {
    for (const event of await reader.next(25)) if (event.type === 'commit') reached = event.position;
  }
  await reader.close();
  await changes.close();
}

function applyByTools(from) {
  const read = new URL(servers.source.url);
  const write = new URL(servers.store.url);
  const to = (url) => [`-h127.0.0.1`, `-P${url.port}`, `-u${url.username}`, `-p${url.password}`];
  const binlog = spawn('mysqlbinlog', [...to(read), '-R', `--start-position=${from}`, ...logs], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const apply = spawn('mariadb', [...to(write), '--init-command=SET GLOBAL gtid_strict_mode = 0'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  binlog.stdout.pipe(apply.stdin);
  return new Promise((resolve) => apply.once('exit', resolve));
}

let logs = [];
let failed = false;
try {
  const root = { source: openEngine({ kind: 'mysql', url: servers.source.url }) };
  root.store = openEngine({ kind: 'mysql', url: servers.store.url });
  for (const name of ['source', 'store']) {
    const schema = name === 'source' ? 'shop' : 'store';
    await root[name].use('bench', (connection) => connection.query(`CREATE DATABASE ${schema}`));
    await root[name].close();
    engines[name] = openEngine(
      { kind: 'mysql', url: `${servers[name].url}/${schema}` },
      { statementMs: 600_000 },
    );
  }
  await use('source', `CREATE TABLE ${TABLE}`);
  const source = await compiled();
  const [[, from]] = await use('source', 'SELECT 1, @@GLOBAL.gtid_binlog_pos');
  const [[file, offset]] = await use('source', 'SHOW MASTER STATUS');
  const rows = await fill();
  const [[, end]] = await use('source', 'SELECT 1, @@GLOBAL.gtid_binlog_pos');
  logs = (await use('source', 'SHOW BINARY LOGS')).map(([name]) => name).filter((name) => name >= file);
  const [[, version]] = await use('source', 'SELECT 1, VERSION()');
  say(`${rows} change rows (a third inserts, the rest images of updates), ${PER} rows a transaction`);
  say(`MariaDB ${version}, sync_binlog = 1, innodb_flush_log_at_trx_commit = 1, binlog on both, 2 servers`);
  say('rows/s; processor time in us a change row: this process, source, store; synced commits of the store');
  const hasTools = ['mysqlbinlog', 'mariadb'].every((name) => {
    try {
      return execFileSync(name, ['--version']).length > 0;
    } catch {
      return false;
    }
  });
  const found = new Map();
  const run = async (name, work) => {
    const result = await measured(rows, work);
    found.set(name, [...(found.get(name) ?? []), result.rate]);
    const cpu = ['here', 'source', 'store'].map((part) => result[part].toFixed(1)).join(' ');
    say(`  ${name.padEnd(24)} ${rate(result.rate)}   ${cpu}   ${result.syncs}`);
  };
  for (let at = 1; at <= (options.giant ? 1 : RUNS); at += 1) {
    if (!options.giant) await run('reader alone', () => readOnly(source, from, end));
    await run('collector', async () => {
      const done = await collect(source, at, from, end);
      if (done.rows !== rows) throw new Error(`${done.rows} rows were sealed, not ${rows}`);
      if (options.giant) say(`  ${done.windows} windows`);
    });
    if (options.giant) continue;
    const table = changeTable({ sourceId: at, table: 'orders', schemaVersion: 1 });
    await use('store', `CREATE TABLE copy${at} LIKE ${table}`);
    await run('store alone', () =>
      use('store', `INSERT INTO copy${at} SELECT * FROM ${table}`).then(() => 0),
    );
    await use('store', 'CREATE DATABASE IF NOT EXISTS shop', `CREATE OR REPLACE TABLE shop.${TABLE}`);
    if (hasTools) await run('mysqlbinlog | mariadb', () => applyByTools(offset).then(() => 0));
  }
  for (const [name, rates] of found) {
    const ratio = median(found.get('collector')) / median(rates);
    say(`median ${name.padEnd(22)} ${rate(median(rates))}   the collector is ${ratio.toFixed(2)} times that`);
  }
  if (options.giant) {
    const peak = process.resourceUsage().maxRSS / 1024;
    say(`most memory of this process: ${Math.round(peak)} MiB (at most ${GIANT_MEMORY_MAX})`);
    failed = peak > GIANT_MEMORY_MAX;
  }
} finally {
  for (const engine of Object.values(engines)) await engine.close();
  for (const server of Object.values(servers)) await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
