// npm run bench:windows [-- --reports 100 --rate 3000 --window 3000 --minutes 10 --queries 500 --naive]
// Freshness and cost of many reports over one busy source, everything on this machine: sources, store and
// reports in MariaDB, three coordinators, two executors, the load and the readers. With --naive also what the
// same reports cost when each is run over the whole table.
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import mysql from 'mysql2/promise';
import { pause } from './cluster.mjs';
import { freshnessMeter, percentile, sequenceOf } from './windows/freshness.mjs';
import { runLoad } from './windows/load.mjs';
import { startMachine } from './windows/machine.mjs';
import { jobOf, reportMix, SCHEMA, shopRows } from './windows/mix.mjs';
import { naiveCosts, sizeAt } from './windows/naive.mjs';
import { cpuOf } from './windows/processor-time.mjs';
import { runQueries } from './windows/queries.mjs';
import { verify } from './windows/verify.mjs';

const { values: options } = parseArgs({
  options: {
    reports: { type: 'string', default: '100' },
    rate: { type: 'string', default: '3000' },
    window: { type: 'string', default: '3000' },
    minutes: { type: 'string', default: '10' },
    queries: { type: 'string', default: '500' },
    warm: { type: 'string', default: '20' },
    'without-joins': { type: 'boolean', default: false },
    'without-distinct': { type: 'boolean', default: false },
    naive: { type: 'boolean', default: false },
  },
});
const say = (line) => process.stdout.write(`${line}\n`);
const number = (name) => Number(options[name]);
const SAMPLE_EVERY_MS = 200;
const SETTLE_WITHIN_MS = 300_000;
const NAIVE_SIZES = [100_000, 300_000, 1_000_000];

const reports = reportMix(number('reports'), {
  joins: !options['without-joins'],
  distinct: !options['without-distinct'],
});
const tables = options['without-joins'] ? ['orders'] : ['orders', 'payments'];
say(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`);
say(`${options.reports} reports, ${options.rate} row changes/s, windows of ${options.window} ms`);

const machine = await startMachine();
const { urls, servers } = machine;
const source = await mysql.createConnection({ uri: urls.source });
const [[server]] = await source.query(
  'SELECT VERSION() AS version, @@sync_binlog AS sync_binlog, @@innodb_flush_log_at_trx_commit AS flush',
);
say(`each server: ${server.version}, sync_binlog ${server.sync_binlog}, flush at commit ${server.flush}`);
for (const statement of SCHEMA) await source.query(statement);
await source.query('INSERT INTO shops VALUES ?', [shopRows()]);
await machine.apply(jobOf(reports, { windowMs: number('window'), tables }));

const meter = await freshnessMeter({ url: urls.reports, reports: number('reports') });
const loading = new AbortController();
let sampledAt = 0;
const load = runLoad({
  url: urls.source,
  rate: number('rate'),
  signal: loading.signal,
  async onCommit(connection, at) {
    if (at - sampledAt < SAMPLE_EVERY_MS) return;
    sampledAt = at;
    const [[row]] = await connection.query('SELECT @@last_gtid AS gtid');
    meter.add(at, row.gtid);
  },
});
while (meter.samples.length === 0) await pause(100);
say(`first window after ${Math.round(performance.now() / 1_000)} s`);
const asking = new AbortController();
const queries = runQueries({ url: urls.reports, reports, rate: number('queries'), signal: asking.signal });
await pause(number('warm') * 1_000);

const parts = machine.parts();
const cpuNow = () =>
  Object.fromEntries(
    Object.entries(parts).map(([part, pids]) => [part, pids.reduce((sum, pid) => sum + cpuOf(pid), 0)]),
  );
meter.samples.length = 0;
const before = cpuNow();
const beganAt = performance.now();
const endsAt = beganAt + number('minutes') * 60_000;
let told = beganAt;
while (performance.now() < endsAt) {
  await pause(500);
  if (performance.now() - told < 60_000) continue;
  told = performance.now();
  const last = meter.samples.slice(-300);
  say(`  last minute: p50 ${ms(percentile(last, 50))}, p99 ${ms(percentile(last, 99))}`);
}
const seconds = (performance.now() - beganAt) / 1_000;
const after = cpuNow();
const measured = [...meter.samples];
loading.abort();
const loaded = await load;
asking.abort();
const asked = await queries;

say('');
say(`row changes: ${Math.round(loaded.changes / loaded.seconds)}/s over ${Math.round(loaded.seconds)} s`);
say(
  `freshness: p50 ${ms(percentile(measured, 50))}, p99 ${ms(percentile(measured, 99))}, ` +
    `worst ${ms(Math.max(...measured))} (${measured.length} commits)`,
);
say(`report queries: ${Math.round(asked.rate)}/s, p50 ${ms(asked.p50)}, p99 ${ms(asked.p99)}`);
say('processor time, of 1.00 each:');
let total = 0;
for (const part of Object.keys(parts)) {
  const used = (after[part] - before[part]) / seconds;
  if (part !== 'load') total += used;
  say(`  ${part.padEnd(13)} ${used.toFixed(2)}`);
}

const [[end]] = await source.query('SELECT @@gtid_binlog_pos AS position');
const goal = sequenceOf(end.position);
const settleBy = performance.now() + SETTLE_WITHIN_MS;
while ((await meter.reached()) < goal && performance.now() < settleBy) await pause(200);
const settled = (await meter.reached()) >= goal;
const compared = await verify({ source: urls.source, sink: urls.reports, reports });
say(`cells: ${compared.cells}, wrong: ${compared.wrong}${settled ? '' : ' (not all windows merged)'}`);
for (const line of compared.details) say(`  ${line}`);
await meter.stop();

if (options.naive) {
  const costs = await naiveCosts({ server: servers.source, url: urls.source, reports, sizes: NAIVE_SIZES });
  say('one refresh of all reports over the whole table:');
  for (const cost of costs) say(`  ${cost.rows} orders: ${cost.seconds.toFixed(2)} s of processor time`);
  // Without the source and the load, which the naive way has as well.
  const perWindow = (total - (after.source - before.source) / seconds) * (number('window') / 1_000);
  say(`Tidemark per window: ${perWindow.toFixed(2)} s. As often, the naive way costs`);
  for (const times of [10, 100])
    say(`  ${times} times that from ${sizeAt(costs, times * perWindow)} orders on`);
}
await source.end();
await machine.stop();
process.exitCode = settled && compared.wrong === 0 ? 0 : 1;

function ms(value) {
  return `${Math.round(value)} ms`;
}
