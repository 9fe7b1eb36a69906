// npm run bench:restart [-- --keys N --entries N --runs N]
// How long a coordinator with many keys and a long log takes from its start until a linearizable read is
// answered, and the memory that it takes: one real process, alone in its cluster, whose folder is filled
// beforehand by the product's own state machine and log store. After an orderly stop; after kill -9; and as
// after a loss of power that left nothing of what the entries did to the state: all of them are applied anew.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { encodeWrites } from '../dist/base/index.js';
import { connect } from '../dist/client/index.js';
import { makeEntry } from '../dist/raft/entry.js';
import { openFileWitness, openLevelKeyValue, openLogStore } from '../dist/raft/log-store/index.js';
import { encodeEntry, openStateMachine } from '../dist/statemachine/index.js';
import { freePorts, median, until } from './cluster.mjs';

const { values: options } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    entries: { type: 'string', default: '100000' },
    runs: { type: 'string', default: '3' },
  },
});
const KEYS = Number(options.keys);
const ENTRIES = Number(options.entries);
const KEYS_PER_ENTRY = 500;
const VALUE = Buffer.alloc(128, 'v');
const say = (line) => process.stdout.write(`${line}\n`);
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
const data = join(folder, 'c0');
/** The state before the entries, and the log with all of them, to be put back: in use it forgets some. */
const earlier = join(folder, 'earlier');
const [clients, peers] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);

function start() {
  const addresses = ['--peer-listen', peers, '--client-listen', clients];
  const words = [main, 'coordinator', 'start', '--data', data, '--log-level', 'info', ...addresses];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  child.beganMs = Date.now();
  child.log = [];
  createInterface(child.stderr).on('line', (line) => child.log.push(JSON.parse(line)));
  child.gone = new Promise((resolve) => child.once('exit', resolve));
  return child;
}

/** When each stage began and ended, in milliseconds since the process was started, as its log tells. */
function stagesOf({ beganMs, log }) {
  const found = (text, fits = () => true) => log.find((line) => line.msg === text && fits(line));
  const endOf = (line) => (line === undefined ? Number.NaN : Date.parse(line.time) - beganMs);
  const span = (line) => `${endOf(line) - line?.ms} to ${endOf(line)}`;
  const serves = found('raft status', ({ leading }) => leading);
  return (
    `    log read ${span(found('the log was read'))}, state read ${span(found('the state was read'))}, ` +
    `taking part ${endOf(found('taking part in the cluster'))}, leading ${endOf(serves)} ms`
  );
}

async function stop(child, signal) {
  child.kill(signal);
  await child.gone;
}

function fieldOf(pid, name) {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1]) / 1024;
}

function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function makeMember() {
  const child = start();
  const client = connect({ endpoints: [clients], deadlineMs: 20_000 });
  await until('init', () => client.init([clients]));
  await until('first write', () => client.kv.put('first', 'x'));
  client.close();
  await stop(child, 'SIGTERM');
}

async function fill() {
  const identity = JSON.parse(readFileSync(join(data, 'identity.json'), 'utf8'));
  const log = await openLogStore(
    await openLevelKeyValue(join(data, 'log')),
    await openFileWitness(join(data, 'log')),
    { ...identity, folder: join(data, 'log'), mustExist: true, sync: true },
  );
  const open = () => openStateMachine({ folder: join(data, 'state'), clusterId: identity.clusterId });
  let state = await open();
  const { term } = log.hardState;
  let index = state.appliedIndex;
  let made = 0;
  const entry = (keys) => {
    const writes = Array.from({ length: keys }, () => {
      made += 1;
      // An order of their own: clients do not write in the order of keys.
      const path = `default/key-${String((made * 7_919) % KEYS).padStart(9, '0')}`;
      return { path, value: VALUE, expected: undefined };
    });
    const operations = [{ type: 'kv.write', v: 1, writes: encodeWrites(writes) }];
    const items = [{ session: 0, sequence: 0, operations }];
    index += 1;
    return makeEntry({ index, term, prevTerm: term }, encodeEntry({ logTimeMs: 0, wallMs: 0, items }));
  };
  const write = async (entries) => {
    await log.write({ log: { from: entries[0].index, entries } });
    await state.apply(entries);
  };
  while (made < KEYS) await write([entry(Math.min(KEYS_PER_ENTRY, KEYS - made))]);
  // As a running member does: the log forgets what the state surely has.
  await state.snapshots.flush();
  await log.write({ compactTo: { ...log.base, index, term } });
  await state.close();
  cpSync(join(data, 'state'), join(earlier, 'state'), { recursive: true });
  state = await open();
  for (let left = ENTRIES; left > 0; left -= 1_000)
    await write(Array.from({ length: Math.min(left, 1_000) }, () => entry(1)));
  await state.close();
  await log.close();
  cpSync(join(data, 'log'), join(earlier, 'log'), { recursive: true });
}

async function measure(name, signal, key) {
  const began = performance.now();
  const child = start();
  const client = connect({ endpoints: [clients], deadlineMs: 60_000 });
  const found = await until('read', () => client.kv.get(key), 60_000);
  const seconds = (performance.now() - began) / 1_000;
  if (found === undefined) throw new Error('a key is missing');
  const cpu = cpuSeconds(child.pid);
  const [rss, peak] = [fieldOf(child.pid, 'VmRSS'), fieldOf(child.pid, 'VmHWM')];
  client.close();
  await stop(child, signal);
  const memory = `${rss.toFixed(0)} MB held, ${peak.toFixed(0)} MB at most`;
  const took = `${seconds.toFixed(2)} s until the first read, ${cpu.toFixed(2)} s of processor time`;
  say(`${name.padEnd(22)}${took}, ${memory}`);
  say(stagesOf(child));
  return { seconds, cpu, peak };
}

function sayMedian(name, results) {
  const of = (field) => median(results.map((result) => result[field]));
  const cpu = `${of('cpu').toFixed(2)} s of processor time`;
  say(`${name.padEnd(22)}${of('seconds').toFixed(2)} s, ${cpu}, ${of('peak').toFixed(0)} MB at most`);
}

try {
  await makeMember();
  const empty = await measure('almost empty', 'SIGTERM', 'first');
  say(`filling: ${KEYS} keys of 128 bytes, then ${ENTRIES} entries`);
  await fill();
  const [orderly, killed, anew] = [[], [], []];
  for (let run = 1; run <= Number(options.runs); run++) {
    orderly.push(await measure('after an orderly stop', 'SIGKILL', 'key-000000001'));
    killed.push(await measure('after kill -9', 'SIGKILL', 'key-000000001'));
    for (const part of ['state', 'log']) {
      rmSync(join(data, part), { recursive: true });
      cpSync(join(earlier, part), join(data, part), { recursive: true });
    }
    anew.push(await measure('entries applied anew', 'SIGTERM', 'key-000000001'));
  }
  say(`medians (an empty one ${empty.seconds.toFixed(2)} s):`);
  sayMedian('after an orderly stop', orderly);
  sayMedian('after kill -9', killed);
  sayMedian('entries applied anew', anew);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
