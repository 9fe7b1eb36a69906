// npm run bench:learner [-- --megabytes N --seconds N]
// How long it takes until a new member has the whole state, while writes are offered at half the highest rate
// measured in the same run: seconds, the rate that is kept, p99 with and without the new member, and the
// memory of each process. The table of keys holds 512 MiB at most, which bounds what can be asked for.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect } from '../dist/client/index.js';
import { freePorts, pause, startCluster, until } from './cluster.mjs';

const { values: options } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '480' },
    seconds: { type: 'string', default: '10' },
    inFlight: { type: 'string', default: '256' },
  },
});
const seconds = Number(options.seconds);
const inFlight = Number(options.inFlight);
const say = (line) => process.stdout.write(`${line}\n`);
const SMALL = Buffer.alloc(128, 'v');
const LARGE = Buffer.alloc(8 * 1024, 's');

const cluster = await startCluster('kv');
const client = connect({ endpoints: cluster.clients, deadlineMs: 20_000 });
await until('init', () => client.init(cluster.clients));
await until('first write', () => client.kv.put('first', 'x'));

/** Runs `write(n)` with so many under way until `done()`; resolves with how many succeeded. */
async function busy(write, done, workers = inFlight) {
  let next = 0;
  let written = 0;
  const worker = async () => {
    while (!done()) {
      await write(next++);
      written += 1;
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
  return written;
}

/** Offers writes at a rate until `done()`, whatever the answers take; tells what came of them. */
async function offer(rate, done) {
  const latencies = [];
  let offered = 0;
  let failed = 0;
  const open = new Set();
  const beganAt = performance.now();
  while (!done()) {
    const due = Math.floor(((performance.now() - beganAt) / 1_000) * rate);
    for (; offered < due; offered++) {
      const at = performance.now();
      const write = client.kv.put(`load-${offered % 10_000}`, SMALL).then(
        () => latencies.push(performance.now() - at),
        () => (failed += 1),
      );
      open.add(write);
      void write.finally(() => open.delete(write));
    }
    await pause(2);
  }
  const tookSeconds = (performance.now() - beganAt) / 1_000;
  const kept = latencies.length / tookSeconds;
  await Promise.all(open);
  latencies.sort((a, b) => a - b);
  return { tookSeconds, kept, failed, p99: latencies[Math.floor(latencies.length * 0.99)] ?? 0 };
}

const after = (ms) => {
  const endsAt = performance.now() + ms;
  return () => performance.now() >= endsAt;
};

/** Resident memory now and at its highest, in MiB (Linux). */
function memory(pid) {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1]) / 1_024);
  return `${of('VmRSS')} MiB (at most ${of('VmHWM')})`;
}

const keys = Math.floor((Number(options.megabytes) * 1024 * 1024) / LARGE.length);
await busy(
  (n) => (n < keys ? client.kv.put(`state-${n}`, LARGE) : undefined),
  (() => {
    let count = 0;
    return () => count++ >= keys;
  })(),
  64,
);
const most =
  (await busy((n) => client.kv.put(`load-${n % 10_000}`, SMALL), after(seconds * 1_000))) / seconds;
const rate = most / 2;
say(
  `state: ${keys} values of ${LARGE.length} bytes; most: ${most.toFixed(0)} writes/s, ${inFlight} in flight`,
);
const before = await offer(rate, after(seconds * 1_000));

const [clientPort, peerPort] = await freePorts(2);
const member = { peerAddress: `127.0.0.1:${peerPort}`, clientAddress: `127.0.0.1:${clientPort}` };
const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const words = ['coordinator', 'start', '--data', join(cluster.folder, 'new'), '--log-level', 'error'];
const addresses = ['--peer-listen', member.peerAddress, '--client-listen', member.clientAddress];
const added = spawn(process.execPath, [program, ...words, ...addresses], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
const fourth = connect({ endpoints: [member.clientAddress] });
await until('the new coordinator', async () => {
  if ('error' in (await fourth.status())[0]) throw new Error('not up');
});
let caughtUp = false;
const adding = client.membership
  .add(member, { onProgress: (line) => say(`  ${line}`) })
  .finally(() => (caughtUp = true));
const during = await offer(rate, () => caughtUp);
await adding;

const shown = ({ kept, p99, failed }) =>
  `${((100 * kept) / rate).toFixed(1)} % of the offered kept, p99 ${p99.toFixed(1)} ms, ${failed} failed`;
say(`a voter after ${during.tookSeconds.toFixed(1)} s, with ${rate.toFixed(0)} writes/s offered`);
say(`before: ${shown(before)}`);
say(`during: ${shown(during)}`);
for (const [n, { pid }] of [...cluster.nodes, added].entries()) say(`member ${n + 1}: ${memory(pid)}`);

client.close();
fourth.close();
added.kill('SIGKILL');
await cluster.stop();
