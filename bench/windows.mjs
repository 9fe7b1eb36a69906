// Freshness and cost of many reports over one busy source; see windows/options.mjs or --help.
import { cpus } from 'node:os';
import mysql from 'mysql2/promise';
import { pause } from './cluster.mjs';
import { freshnessMeter, sequenceOf } from './windows/freshness.mjs';
import { runLoad } from './windows/load.mjs';
import { startMachine } from './windows/machine.mjs';
import { jobOf, reportMix, SCHEMA, shopRows } from './windows/mix.mjs';
import { naiveCosts, sizeAt } from './windows/naive.mjs';
import { readOptions } from './windows/options.mjs';
import { limitOf, measurePhase, ms, tellPhase } from './windows/phase.mjs';
import { runQueries } from './windows/queries.mjs';
import { search } from './windows/search.mjs';
import { verify } from './windows/verify.mjs';

const say = (line) => process.stdout.write(`${line}\n`);
const SAMPLE_EVERY_MS = 200;
const SETTLE_WITHIN_MS = 300_000;
const NAIVE_SIZES = [100_000, 300_000, 1_000_000];

const options = readOptions();
if (options !== undefined) await run();

async function run() {
  const reports = reportMix(options.reports, {
    joins: !options['without-joins'],
    distinct: !options['without-distinct'],
  });
  say(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`);
  if (options['without-binlog']) say('no binary log in store and report databases');
  say(`${options.reports} reports, ${options.rate} row changes/s, windows of ${options.window} ms`);
  const machine = await startMachine({ binlog: !options['without-binlog'] });
  const source = await prepareSource(machine, reports);
  const meter = await freshnessMeter({ url: machine.urls.reports, reports: options.reports });
  const load = startLoad(machine, meter);
  while (meter.samples.length === 0) await pause(100);
  say(`first window after ${Math.round(performance.now() / 1_000)} s`);
  const asking = new AbortController();
  const questions = { url: machine.urls.reports, reports, rate: options.queries, signal: asking.signal };
  const queries = runQueries(questions);
  const measured = { parts: machine.parts(), meter, progress: load.progress, say };
  let phase;
  if (options.search) await search({ ...measured, options });
  else {
    await pause(options.warm * 1_000);
    phase = await measurePhase({ ...measured, seconds: options.minutes * 60 });
  }
  await load.stop();
  asking.abort();
  const asked = await queries;
  say('');
  if (phase !== undefined) {
    tellPhase(phase, say);
    say(`limits: ${limitOf(phase)}`);
  }
  say(`report queries: ${Math.round(asked.rate)}/s, p50 ${ms(asked.p50)}, p99 ${ms(asked.p99)}`);
  const right = await checkCells(machine, source, meter, reports);
  if (options.naive && phase !== undefined) await compareNaive(machine, reports, phase);
  await source.end();
  await machine.stop();
  process.exitCode = right ? 0 : 1;
}

async function prepareSource(machine, reports) {
  const source = await mysql.createConnection({ uri: machine.urls.source });
  const [[server]] = await source.query(
    'SELECT VERSION() AS version, @@sync_binlog AS sync_binlog, @@innodb_flush_log_at_trx_commit AS flush',
  );
  say(`each server: ${server.version}, sync_binlog ${server.sync_binlog}, flush at commit ${server.flush}`);
  for (const statement of SCHEMA) await source.query(statement);
  await source.query('INSERT INTO shops VALUES ?', [shopRows()]);
  const tables = options['without-joins'] ? ['orders'] : ['orders', 'payments'];
  await machine.apply(jobOf(reports, { windowMs: options.window, tables }));
  return source;
}

function startLoad(machine, meter) {
  const loading = new AbortController();
  const progress = {};
  let sampledAt = 0;
  const load = runLoad({
    url: machine.urls.source,
    rate: options.rate,
    signal: loading.signal,
    progress,
    async onCommit(connection, at) {
      if (at - sampledAt < SAMPLE_EVERY_MS) return;
      sampledAt = at;
      const [[row]] = await connection.query('SELECT @@last_gtid AS gtid');
      meter.add(at, row.gtid);
    },
  });
  return {
    progress,
    async stop() {
      loading.abort();
      await load;
    },
  };
}

/** Waits until all is merged, and compares. */
async function checkCells(machine, source, meter, reports) {
  const [[end]] = await source.query('SELECT @@gtid_binlog_pos AS position');
  const goal = sequenceOf(end.position);
  const settleBy = performance.now() + SETTLE_WITHIN_MS;
  while ((await meter.reached()) < goal && performance.now() < settleBy) await pause(200);
  const settled = (await meter.reached()) >= goal;
  const { source: from, reports: sink } = machine.urls;
  const compared = await verify({ source: from, sink, reports });
  say(`cells: ${compared.cells}, wrong: ${compared.wrong}${settled ? '' : ' (not all windows merged)'}`);
  for (const line of compared.details) say(`  ${line}`);
  await meter.stop();
  return settled && compared.wrong === 0;
}

async function compareNaive(machine, reports, phase) {
  const server = machine.servers.source;
  const costs = await naiveCosts({ server, url: machine.urls.source, reports, sizes: NAIVE_SIZES });
  say('one refresh of all reports over the whole table:');
  for (const cost of costs) say(`  ${cost.rows} orders: ${cost.seconds.toFixed(2)} s of processor time`);
  // Without the source and the load, which the naive way has as well.
  const { store, reports: sink, coordinators, executors } = phase.used;
  const perWindow = (store + sink + coordinators + executors) * (options.window / 1_000);
  say(`Tidemark per window: ${perWindow.toFixed(2)} s. As often, the naive way costs`);
  for (const times of [10, 100])
    say(`  ${times} times that from ${sizeAt(costs, times * perWindow)} orders on`);
}
