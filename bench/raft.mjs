// npm run bench:raft [-- --seconds N --runs N --etcd PROGRAM --stages]
// Writes per second of three real processes with the client on the same machine, 128-byte values, at several
// numbers of writes in flight: consensus alone (the state machine does nothing), keys and values applied, and
// etcd beside them in the same run where its program is given. Interleaved runs; medians and ratios. Each
// side is warmed first: fresh JavaScript is compiled while it runs, which takes some 30,000 writes.
// --stages: where the leader's main thread spends its time, by samples; these runs are slower.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect } from '../dist/client/index.js';
import { median, startCluster, until } from './cluster.mjs';
import { EtcdClient } from './etcd-client.mjs';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    runs: { type: 'string', default: '3' },
    inflight: { type: 'string', default: '1,64,256,1000' },
    etcd: { type: 'string' },
    only: { type: 'string' },
    stages: { type: 'boolean', default: false },
  },
});
const SECONDS = Number(options.seconds);
const IN_FLIGHT = options.inflight.split(',').map(Number);
const VALUE = Buffer.alloc(128, 'v');
const KEYS = 10_000;
const WARM_SECONDS = 3;
const WARM_IN_FLIGHT = 256;
/** Lone writes are other code than full batches, and few: what is compiled for them takes as many seconds. */
const WARM_ALONE_SECONDS = 12;
const say = (line) => process.stdout.write(`${line}\n`);

/** Processor seconds that a process has used (Linux; ticks of 10 ms). */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Measures a load with what the servers (each of the three, the busiest first) and this client used. */
async function measured(cluster, inFlight, put) {
  const signal = () => {
    if (options.stages) for (const { pid } of cluster.nodes) process.kill(pid, 'SIGUSR2');
  };
  signal();
  const before = cluster.nodes.map(({ pid }) => cpuSeconds(pid));
  const own = process.cpuUsage();
  const result = await load(inFlight, put);
  const { user, system } = process.cpuUsage(own);
  const used = cluster.nodes
    .map(({ pid }, n) => ({ pid, us: (cpuSeconds(pid) - before[n]) * 1e6 }))
    .sort((a, b) => b.us - a.us);
  signal();
  const stages = options.stages ? await stagesOf(cluster, used[0].pid) : undefined;
  const cpu = [...used.map(({ us }) => us), user + system].map((us) => us / result.writes);
  return { ...result, cpu, stages };
}

/** What the leader's main thread did, in microseconds. */
async function stagesOf({ nodes, folder }, leader) {
  const files = nodes.map(({ pid }) => join(folder, `${pid}.json`));
  await until('stages', async () => {
    if (!files.every((file) => existsSync(file))) throw new Error('not written yet');
  });
  const stages = JSON.parse(readFileSync(join(folder, `${leader}.json`), 'utf8'));
  for (const file of files) rmSync(file);
  return stages;
}

/** Runs `inFlight` writers for a while; writes per second and latencies after the first quarter of it. */
async function load(inFlight, put, seconds = SECONDS) {
  const latencies = [];
  const began = performance.now();
  const warm = began + (seconds * 1_000) / 4;
  const end = began + seconds * 1_000;
  let n = 0;
  const writer = async () => {
    for (;;) {
      const at = performance.now();
      if (at >= end) return;
      n += 1;
      await put(`key-${n % KEYS}`);
      if (at >= warm) latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, writer));
  if (latencies.length === 0) throw new Error(`no write ended in ${seconds} s with ${inFlight} in flight`);
  latencies.sort((a, b) => a - b);
  const percentile = (part) => latencies[Math.floor(latencies.length * part)];
  return {
    writes: n,
    perSecond: (latencies.length / (end - warm)) * 1_000,
    p50: percentile(0.5),
    p99: percentile(0.99),
  };
}

async function warm(inFlight, put) {
  await load(inFlight, put, inFlight < 16 ? WARM_ALONE_SECONDS : 1);
}

async function runTidemark(kind, record) {
  const cluster = await startCluster(kind, { stages: options.stages });
  const client = connect({ endpoints: cluster.clients, deadlineMs: 20_000 });
  try {
    if (kind === 'kv') await until('init', () => client.init(cluster.clients));
    await until('first write', () => client.kv.put('first', 'x'));
    const put = (key) => client.kv.put(key, VALUE);
    await load(WARM_IN_FLIGHT, put, WARM_SECONDS);
    for (const inFlight of IN_FLIGHT) {
      await warm(inFlight, put);
      record(inFlight, await measured(cluster, inFlight, put));
    }
  } finally {
    client.close();
    await cluster.stop();
  }
}

async function runEtcd(program, record) {
  const cluster = await startCluster({ etcd: program });
  const clients = cluster.clients.map((address) => new EtcdClient(address));
  try {
    const leader = await until('leader', () => Promise.any(clients.map((client) => client.leads())));
    const put = (key) => leader.put(key, VALUE);
    await load(WARM_IN_FLIGHT, put, WARM_SECONDS);
    for (const inFlight of IN_FLIGHT) {
      await warm(inFlight, put);
      record(inFlight, await measured(cluster, inFlight, put));
    }
  } finally {
    for (const client of clients) client.close();
    await cluster.stop();
  }
}

const sides = [
  ['nothing', (record) => runTidemark('nothing', record)],
  ['kv', (record) => runTidemark('kv', record)],
  ...(options.etcd === undefined ? [] : [['etcd', (record) => runEtcd(options.etcd, record)]]),
]
  .filter(([name]) => !(options.stages && name === 'etcd'))
  .filter(([name]) => options.only === undefined || options.only.split(',').includes(name));

say(`${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}`);
say('three processes and the client on one machine; 128-byte values, 10,000 keys');
say('tidemark: one synced LevelDB batch per group of entries on each node (durable before it acknowledges)');
say('etcd: its defaults, one fsync of its log per group of entries; every put a call of its own');
say('cpu: microseconds per write of each process, the busiest first, and of the client');
const results = new Map();
for (let run = 1; run <= Number(options.runs); run++) {
  for (const [name, measure] of sides) {
    await measure((inFlight, result) => {
      const key = `${name} ${inFlight}`;
      results.set(key, [...(results.get(key) ?? []), result]);
      const { perSecond, p50, p99, cpu } = result;
      const rate = String(Math.round(perSecond)).padStart(7);
      const latency = `p50 ${p50.toFixed(2)} ms  p99 ${p99.toFixed(2)} ms`;
      const used = cpu.map((us) => us.toFixed(1)).join(' ');
      say(`run ${run}  ${key.padEnd(14)}${rate}/s  ${latency}  cpu ${used} us`);
      if (result.stages === undefined) return;
      const { idle = 0, ...stages } = result.stages;
      const parts = Object.entries(stages).sort(([, a], [, b]) => b - a);
      const told = parts.map(([stage, us]) => `${stage} ${(us / result.writes).toFixed(2)}`).join(', ');
      say(`       leader's main thread, us per write: ${told}; idle ${(idle / result.writes).toFixed(2)}`);
    });
  }
}
say('medians');
for (const [key, runs] of results) {
  const of = (name) => median(runs.map((result) => result[name]));
  const inFlight = key.split(' ')[1];
  const peer = results.get(`etcd ${inFlight}`);
  const ratio =
    peer === undefined ? '' : `  x${(of('perSecond') / median(peer.map((r) => r.perSecond))).toFixed(1)}`;
  const latency = `p50 ${of('p50').toFixed(2)} ms  p99 ${of('p99').toFixed(2)} ms`;
  say(`${key.padEnd(14)}${String(Math.round(of('perSecond'))).padStart(7)}/s  ${latency}${ratio}`);
}
process.exit(0);
