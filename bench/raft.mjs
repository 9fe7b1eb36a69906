// npm run bench:raft [-- --seconds N --runs N --etcd PROGRAM]
// Writes per second of three real processes with the client on the same machine, 128-byte values, at several
// numbers of writes in flight: consensus alone (the state machine does nothing), keys and values applied, and
// etcd beside them in the same run where its program is given. Interleaved runs; medians and ratios.
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
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
  },
});
const SECONDS = Number(options.seconds);
const IN_FLIGHT = options.inflight.split(',').map(Number);
const VALUE = Buffer.alloc(128, 'v');
const KEYS = 10_000;
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
  const before = cluster.nodes.map(({ pid }) => cpuSeconds(pid));
  const own = process.cpuUsage();
  const result = await load(inFlight, put);
  const { user, system } = process.cpuUsage(own);
  const used = cluster.nodes.map(({ pid }, n) => (cpuSeconds(pid) - before[n]) * 1e6).sort((a, b) => b - a);
  return { ...result, cpu: [...used, user + system].map((us) => us / result.writes) };
}

/** Runs `inFlight` writers for a while; writes per second and latencies of the second half of the time. */
async function load(inFlight, put) {
  const latencies = [];
  const began = performance.now();
  const warm = began + (SECONDS * 1_000) / 4;
  const end = began + SECONDS * 1_000;
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
  latencies.sort((a, b) => a - b);
  const percentile = (part) => latencies[Math.floor(latencies.length * part)];
  return {
    writes: n,
    perSecond: (latencies.length / (end - warm)) * 1_000,
    p50: percentile(0.5),
    p99: percentile(0.99),
  };
}

async function runTidemark(kind, record) {
  const cluster = await startCluster(kind);
  const client = connect({ endpoints: cluster.clients, deadlineMs: 20_000 });
  try {
    if (kind === 'kv') await until('init', () => client.init(cluster.clients));
    await until('first write', () => client.kv.put('first', 'x'));
    for (const inFlight of IN_FLIGHT)
      record(inFlight, await measured(cluster, inFlight, (key) => client.kv.put(key, VALUE)));
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
    for (const inFlight of IN_FLIGHT)
      record(inFlight, await measured(cluster, inFlight, (key) => leader.put(key, VALUE)));
  } finally {
    for (const client of clients) client.close();
    await cluster.stop();
  }
}

const sides = [
  ['nothing', (record) => runTidemark('nothing', record)],
  ['kv', (record) => runTidemark('kv', record)],
  ...(options.etcd === undefined ? [] : [['etcd', (record) => runEtcd(options.etcd, record)]]),
].filter(([name]) => options.only === undefined || options.only.split(',').includes(name));

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
