// npm run bench:learner [-- --megabytes N --seconds N --no-backup]
// How a new member gets a large state while writes are offered at half the highest rate measured in the same
// run: seconds until it has it, the rate that is kept, p50 and p99 before and meanwhile at the same rate,
// memory, processor time and longest pause of each process. Then a backup of the same state is saved under
// the same writes, looked at and restored. Each target is printed with whether it was met.
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect } from '../dist/client/index.js';
import { freePorts, pause, pausesIn, startCluster, until } from './cluster.mjs';
import { after, busy, offer } from './load.mjs';
import { watch } from './watch.mjs';

const { values: options } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '1024' },
    seconds: { type: 'string', default: '20' },
    inFlight: { type: 'string', default: '256' },
    valueBytes: { type: 'string', default: '1024' },
    'no-backup': { type: 'boolean', default: false },
  },
});
const seconds = Number(options.seconds);
const inFlight = Number(options.inFlight);
const valueBytes = Number(options.valueBytes);
const keys = Math.floor((Number(options.megabytes) * 1024 * 1024) / valueBytes);
/** What LevelDB, gRPC and the program itself take besides the state. */
const BASE_MIB = 400;

const say = (line) => process.stdout.write(`${line}\n`);
const SMALL = Buffer.alloc(128, 'v');
const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

const cluster = await startCluster('kv', { pauses: true });
const client = connect({ endpoints: cluster.clients, deadlineMs: 20_000 });
await until('init', () => client.init(cluster.clients));
await until('first write', () => client.kv.put('first', 'x'));
const pids = cluster.nodes.map(({ pid }) => pid);

/** In the order of their names: LevelDB sorts nothing anew, and filling takes a third of the time. */
const nameOf = (n) => `state-${String(n).padStart(9, '0')}`;
const valueOf = (n) => Buffer.alloc(valueBytes, `${n} `);
const small = (n) => client.kv.put(`load-${n % 10_000}`, SMALL);

function shownProcess(name, { own, all, cpu, pause: longest }, tookSeconds) {
  const memory = `${own.toFixed(0)} MiB of its own at most, ${all.toFixed(0)} with mapped files`;
  const busyFor = `${((100 * cpu) / tookSeconds).toFixed(0)} % of a processor`;
  say(`  ${name.padEnd(10)}${memory}; ${busyFor}, longest pause ${longest.toFixed(0)} ms`);
}

function shown(name, rate, { seconds: took, reached, p50, p99, p999, failed }) {
  const kept = `${reached.toFixed(0)}/s of ${rate.toFixed(0)}/s (${((100 * reached) / rate).toFixed(1)} %)`;
  const times = `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, p99.9 ${p999.toFixed(1)} ms`;
  say(`${name}: ${took.toFixed(1)} s, ${kept}, ${times}, ${failed} failed`);
}

/** Offers writes while `work` goes on, and watches. */
async function during(name, rate, work, watched = pids) {
  let done = false;
  const watching = watch(watched, cluster.folder);
  const worked = work().finally(() => (done = true));
  const result = await offer(rate, small, () => done);
  const processes = watching.stop();
  shown(name, rate, result);
  processes.forEach((one, at) => shownProcess(`member ${at + 1}`, one, result.seconds));
  return { ...result, processes, worked: await worked };
}

/** Runs a command of the program to its end; tells what it took. */
async function command(...words) {
  const beganAt = performance.now();
  const child = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'ignore', 'inherit'] });
  const watching = watch([child.pid]);
  const code = await new Promise((resolve) => child.once('exit', resolve));
  const [{ own, cpu }] = watching.stop();
  if (code !== 0) throw new Error(`${words.join(' ')} ended with ${code}`);
  const took = (performance.now() - beganAt) / 1_000;
  const name = words.slice(0, 2).join(' ');
  say(`${name}: ${took.toFixed(1)} s, ${cpu.toFixed(1)} s of processor time, ${own.toFixed(0)} MiB`);
  return own;
}

const filledAt = performance.now();
let filled = 0;
await busy(
  (n) => client.kv.put(nameOf(n), valueOf(n)),
  () => filled++ >= keys,
  1_000,
);
say(
  `state: ${keys} values of ${valueBytes} bytes, ${keys * valueBytes} bytes; ` +
    `filled in ${((performance.now() - filledAt) / 1_000).toFixed(0)} s`,
);
await pause(10_000);
const most = (await busy(small, after(seconds), inFlight)) / seconds;
const rate = most / 2;
say(`most: ${most.toFixed(0)} writes/s of ${SMALL.length} bytes, ${inFlight} in flight`);
await pause(3_000);
const before = await during('before', rate, () => pause(seconds * 1_000));

const [clientPort, peerPort] = await freePorts(2);
const member = { peerAddress: `127.0.0.1:${peerPort}`, clientAddress: `127.0.0.1:${clientPort}` };
const words = ['coordinator', 'start', '--data', join(cluster.folder, 'new'), '--log-level', 'error'];
const addresses = ['--peer-listen', member.peerAddress, '--client-listen', member.clientAddress];
const added = spawn(process.execPath, [program, ...words, ...addresses], {
  stdio: ['ignore', 'ignore', 'inherit'],
  env: { ...process.env, UV_THREADPOOL_SIZE: '8', ...pausesIn(cluster.folder) },
});
process.once('exit', () => added.kill('SIGKILL'));
const fourth = connect({ endpoints: [member.clientAddress] });
await until('the new coordinator', async () => {
  if ('error' in (await fourth.status())[0]) throw new Error('not up');
});
const beganAt = performance.now();
const onProgress = (line) => say(`  ${((performance.now() - beganAt) / 1_000).toFixed(1)} s: ${line}`);
const add = () => client.membership.add(member, { onProgress, withinMs: 900_000 });
const meanwhile = await during('during', rate, add, [...pids, added.pid]);

for (let n = 0; n < keys; n += Math.ceil(keys / 1_000)) {
  const found = await fourth.kv.get(nameOf(n));
  if (!valueOf(n).equals(Buffer.from(found?.value ?? ''))) throw new Error(`${nameOf(n)} is another`);
}
fourth.close();
const afterwards = await during('after', rate, () => pause(seconds * 1_000), [...pids, added.pid]);

let commandMiB = 0;
let saving;
if (!options['no-backup']) {
  const file = join(cluster.folder, 'backup');
  const at = ['--endpoints', cluster.clients[0]];
  saving = await during('saving a backup', rate, () => command('snapshot', 'save', file, ...at));
  say(`backup: ${statSync(file).size} bytes`);
  const restored = ['--data-folder', join(cluster.folder, 'restored')];
  commandMiB = Math.max(
    saving.worked,
    await command('snapshot', 'status', file),
    await command('snapshot', 'restore', file, ...restored),
  );
}

const learner = meanwhile.processes.at(-1);
const stateMiB = (keys * valueBytes) / 1024 / 1024;
const mostOf = (list) => Math.max(...list.map(({ own }) => own));
const targets = [
  ['the new member is a voter within 120 s', meanwhile.seconds, 120, 's'],
  ['90 % of the offered rate are kept: missed', 100 - (100 * meanwhile.reached) / rate, 10, '%'],
  ['p99 is at most doubled', meanwhile.p99 / before.p99, 2, 'times'],
  ['memory of the new member', learner.own, 1.5 * stateMiB + BASE_MIB, 'MiB'],
  [
    'more memory of the others than before',
    mostOf(meanwhile.processes.slice(0, 3)) - mostOf(before.processes),
    200,
    'MiB',
  ],
];
if (saving !== undefined) targets.push(['memory of save, status and restore', commandMiB, BASE_MIB, 'MiB']);
say('');
for (const [what, value, bound, unit] of targets) {
  const verdict = value <= bound ? 'met' : 'MISSED';
  say(`${verdict.padEnd(7)}${what}: ${value.toFixed(1)} ${unit} (at most ${bound.toFixed(0)})`);
}
say(`p99 after: ${(afterwards.p99 / before.p99).toFixed(2)} times that of before, with one member more`);

client.close();
added.kill('SIGKILL');
await cluster.stop();
