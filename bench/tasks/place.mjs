// A store and a report database, each on a server of its own, with a report of each kind prepared, and the
// executor's own steps over them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { stringify } from 'yaml';
import { asToken, systemClock } from '../../dist/base/index.js';
import { StoreWriter } from '../../dist/collector/store/store-writer.js';
import { startPrivateServer } from '../../dist/dev/private-mysql.js';
import { Catalog } from '../../dist/executor/catalog.js';
import { computeContribution } from '../../dist/executor/compute/compute.js';
import { SpanCopies } from '../../dist/executor/compute/span-copies.js';
import { Gatherer } from '../../dist/executor/compute/gatherer.js';
import { Databases } from '../../dist/executor/databases.js';
import { carryOutPrepare } from '../../dist/executor/prepare/prepare.js';
import { foldSpans, sweepOf } from '../../dist/executor/sink/fold.js';
import { dropKnown } from '../../dist/executor/sink/known-tasks.js';
import { mergeContribution } from '../../dist/executor/sink/merge.js';
import { openSink, setEpoch } from '../../dist/executor/sink/reconcile.js';
import { advanceStates } from '../../dist/executor/states/index.js';
import { validateJob } from '../../dist/executor/validate-job.js';
import { reportDefinition } from '../../dist/wire/index.js';
import { jobOf, reportMix, SCHEMA, shopRows } from '../windows/mix.mjs';

/** Kinds of reports, by the number that each has in the mix. */
const NUMBERS = { many: 0, few: 1, dimension: 12, join: 17, multisets: 19 };
export const KINDS = Object.keys(NUMBERS);

const ROLES = ['store', 'reports'];
/** Nothing is staged here. */
const HELD = { stage: async () => undefined, heldMax: 1_000_000, rowsMax: 1_000_000, pieceRows: 10_000 };
const CLUSTER = 'b'.repeat(32);
const BASE = 40_000n << 40n;
const token = (n) => asToken(BASE + BigInt(n));
const SOURCE = 1;
const DAY = new Date().toISOString().slice(0, 10);
const log = { info: () => undefined, warn: () => undefined };

export async function startTasks() {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-tasks-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const servers = {};
  for (const role of ROLES)
    servers[role] = await startPrivateServer({ folder: join(folder, role), name: role });
  await prepareSource(servers.store.url);
  await make(servers.store.url, 'store');
  await make(servers.reports.url, 'bench');
  const env = {
    BENCH_SOURCE: `${servers.store.url}/source`,
    BENCH_STORE: `${servers.store.url}/store`,
    BENCH_REPORTS: `${servers.reports.url}/bench`,
  };
  const mix = reportMix(20);
  const reports = Object.fromEntries(KINDS.map((kind) => [kind, mix[`r${NUMBERS[kind]}`]]));
  const job = jobOf(reports, { windowMs: 3_000, tables: ['orders', 'payments'] });
  const where = { env, baseFolder: folder };
  const watch = { clock: systemClock, log };
  const compiled = await validateJob(where, watch, stringify(job), { sources: [], reports: [] });
  const databases = new Databases(where, watch);
  const catalog = catalogOf(compiled);
  const grant = { clusterId: CLUSTER, epoch: token(1) };
  const sink = databases.group(catalog.sink(1));
  const known = { ...grant, formerIds: [], generations: [] };
  await openSink(sink, known);
  await setEpoch(sink, known, 0);
  await dropKnown(sink, grant.epoch);
  const ids = KINDS.map((_kind, at) => reportDefinition(at + 1, 1));
  await carryOutPrepare(
    { catalog, databases },
    {
      token: token(2),
      sourceId: BigInt(SOURCE),
      sinkId: 1n,
      sinkEpoch: token(1),
      clusterId: CLUSTER,
      reports: ids,
      step: 1,
      copies: [],
      pending: [],
    },
  );
  return { servers, ...stepsOf({ catalog, databases, compiled, grant }), stop };

  async function stop() {
    await databases.close();
    for (const role of ROLES) await servers[role].stop();
  }
}

function catalogOf(compiled) {
  const catalog = new Catalog();
  const documents = {
    'topology/1': { ...compiled.topology, version: 1 },
    'source/1': compiled.sources[0],
    'sink/1': compiled.sinks[0],
  };
  const numbered = KINDS.map((kind, at) => [
    reportDefinition(at + 1, 1),
    compiled.reports.find(({ name }) => name === kind),
  ]);
  Object.assign(documents, Object.fromEntries(numbered));
  catalog.put(Object.entries(documents).map(([id, document]) => ({ id, json: JSON.stringify(document) })));
  return catalog;
}

function stepsOf(parts) {
  const { catalog, databases, compiled, grant } = parts;
  const source = compiled.sources[0];
  const store = databases.group(compiled.topology.shards[0]);
  const captured = (table, version) => catalog.captured(SOURCE, table, version);
  const of = { source, captured, sourceId: SOURCE, shard: 'shard1', signal: new AbortController().signal };
  const layoutOf = (kind) => catalog.report(reportDefinition(KINDS.indexOf(kind) + 1, 1));
  const sealed = new Map();
  // One task at a time finds the copies of the one before it.
  const copies = new SpanCopies(systemClock);
  const write = windowWriter(store, source);
  return {
    async write(window, rows) {
      sealed.set(window, await write(window, rows));
    },
    advance: (window) =>
      advanceStates(store, {
        ...of,
        windows: [sealed.get(window)],
        token: token(10 + window),
        marker: 'states',
      }),
    compute: (kind, window) =>
      computeContribution({
        ...of,
        store,
        layout: layoutOf(kind),
        windows: [sealed.get(window)],
        fromStates: false,
        timeMs: 60_000,
        prepared: token(2),
        marker: 'bench',
        gather: () => new Gatherer(HELD),
        copies,
      }),
    ...sinkSteps(databases.group(compiled.sinks[0]), grant, layoutOf),
  };
}

function sinkSteps(engine, grant, layoutOf) {
  const context = {
    engine,
    clock: systemClock,
    random: Math.random,
    track: () => () => undefined,
    marker: 'bench',
    cancelled: () => false,
    log,
  };
  const scopeOf = (kind) => ({ reportId: KINDS.indexOf(kind) + 1, generation: 1, sourceId: SOURCE });
  return {
    merge: (kind, window, computed) => {
      const covered = { firstWindow: window, lastWindow: window, coversMs: window, position: String(window) };
      return mergeContribution(context, {
        grant,
        layout: layoutOf(kind),
        span: { ...scopeOf(kind), ...covered, part: 0, parts: 1 },
        token: token(100 + window),
        contribution: computed.contribution,
      });
    },
    async fold(kind, windows) {
      const ends = Array.from({ length: windows }, (_none, at) => ({ window: at + 1, seal: token(3) }));
      const input = { grant, layout: layoutOf(kind), scope: scopeOf(kind), spanEnds: ends };
      await foldSpans(context, input);
      const sweep = sweepOf(context, input);
      while (await sweep());
      return windows;
    },
  };
}

/** Writes and marks the rows of a window as a collector does; resolves with its seal. */
function windowWriter(engine, source) {
  const tableAt = Object.fromEntries(source.tables.map(({ table }, at) => [table, at]));
  const writer = new StoreWriter({
    engine,
    sourceId: SOURCE,
    epoch: token(3),
    tables: source.tables,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  const schemaVersions = source.tables.map(({ table, schemaVersion }) => ({ table, version: schemaVersion }));
  return async (window, rows) => {
    const open = writer.open(window, DAY);
    for (const { table, weight, row } of rows) {
      writer.add(open, tableAt[table], weight, row.map(exact));
      if (open.rows % 1_000 === 0) await writer.ready();
    }
    await writer.acknowledged();
    await writer.mark(open);
    return {
      window: BigInt(window),
      epoch: token(3),
      from: '',
      to: '',
      day: DAY,
      coversMs: 0n,
      topologyVersion: 1,
      shards: [{ shard: 'shard1', rows: BigInt(open.rows), checksum: open.checksum.toString() }],
      schemaVersions,
    };
  };
}

const exact = (value) => (typeof value === 'number' ? BigInt(value) : value);

async function make(url, name) {
  const connection = await mysql.createConnection({ uri: url });
  await connection.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
  await connection.end();
}

/** Only its schema and its dimension are read. */
async function prepareSource(url) {
  await make(url, 'source');
  const connection = await mysql.createConnection({ uri: `${url}/source` });
  for (const statement of SCHEMA) await connection.query(statement);
  await connection.query('INSERT INTO shops VALUES ?', [shopRows()]);
  await connection.end();
}
