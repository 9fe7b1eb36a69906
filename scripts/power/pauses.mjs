// npm run test:pauses [-- --rounds N]
// Leader and follower of three real coordinators stand still (SIGSTOP, or an event loop that is blocked) for
// 0.1 to 5 election timeouts, under load. No client may see anything that is not linearizable, a paused
// follower may not campaign, and the term may grow by the elections that a paused leader costs only.
// Exit codes: 0 all held, 1 something is wrong, 2 unknown (the control found nothing).
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { connect } from '../../dist/client/index.js';
import { pause, until } from '../../bench/cluster.mjs';
import { Registers } from './history.mjs';
import { Members } from './members.mjs';

const ELECTION_MS = 700;
const TIMES = [0.1, 0.5, 1, 2, 5];
const REGISTERS = 4;
/** On a busy machine few clients are with the leader when it wakes. */
const CONTROLS = 4;
const say = (line) => process.stdout.write(`${line}\n`);

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '1' } } });

/** A folder where {@link Members} expects a disk. */
function plainFolder(path) {
  mkdirSync(path);
  return { path, discard: () => undefined };
}

class Clients {
  registers = new Registers();
  #ended = false;
  #all = [];
  #open = [];

  constructor(endpoints) {
    for (let at = 0; at < REGISTERS; at++) this.#begin(endpoints, (kv) => this.#write(kv, `r${at}`));
    // One for each member that asks no other: an old leader answers only those that are still with it.
    for (const endpoint of endpoints) {
      for (let at = 0; at < REGISTERS; at++)
        this.#begin([endpoint], (kv) => this.#read(kv, `r${at}`, endpoint));
    }
  }

  async end() {
    this.#ended = true;
    await Promise.all(this.#all);
    for (const client of this.#open) client.close();
    this.registers.judge();
  }

  #begin(endpoints, work) {
    const client = connect({ endpoints, deadlineMs: 2_000 });
    this.#open.push(client);
    this.#all.push(work(client.kv));
  }

  async #write(kv, key) {
    for (let value = 1; !this.#ended; value++) {
      this.registers.issue(key, value);
      // What is in doubt is written again until it is certain: so the values of a register only grow.
      while (!(await quietly(() => kv.put(key, String(value))))) if (this.#ended) return;
      this.registers.acknowledge(key, value);
      await pause(1);
    }
  }

  async #read(kv, key, where) {
    while (!this.#ended) {
      const invokedAt = performance.now();
      const found = await quietly(async () => ({ row: await kv.get(key) }));
      if (found !== undefined) {
        const value = found.row === undefined ? 0 : Number(Buffer.from(found.row.value).toString());
        this.registers.read(key, value, invokedAt, where);
      }
      await pause(1);
    }
  }
}

/** A refusal or an unknown outcome is a fact of these runs, not an error. */
async function quietly(call) {
  try {
    return await call();
  } catch (error) {
    if (error.code === undefined) throw error;
    await pause(5);
    return undefined;
  }
}

const HALTS = {
  async stopped(node, ms) {
    node.kill('SIGSTOP');
    await pause(ms);
    node.kill('SIGCONT');
  },
  async blocked(node, ms) {
    node.send({ testBuild: 'block', ms });
    await pause(ms);
  },
};

const termOf = async (members) => {
  const terms = (await members.client.status()).map(({ status }) => Number(status?.term ?? 0));
  return Math.max(...terms);
};

/** Pauses one member once; returns what is wrong. */
async function pauseOnce(members, { who, how, times }) {
  const leader = await members.level();
  const at = who === 'leader' ? leader : (leader + 1) % 3;
  const before = await termOf(members);
  const campaigns = campaignsOf(members, at);
  await HALTS[how](members.nodes[at], times * ELECTION_MS);
  await pause(300);
  await members.level();
  const grown = (await termOf(members)) - before;
  const allowed = who === 'leader' && times >= 0.9 ? 2 : 0;
  const wrong = [];
  if (grown > allowed) wrong.push(`the term grew by ${grown}`);
  if (who === 'follower' && campaignsOf(members, at) > campaigns) wrong.push('it campaigned');
  say(`  ${who} ${how} for ${times} election timeouts: ${wrong.join(', ') || `term +${grown}`}`);
  return wrong;
}

const campaignsOf = (members, at) => members.logOf(at).split('"role":"pre-candidate"').length;

async function run(folder, { mutations = [], pauses }) {
  const members = await Members.start(folder, 3, { disk: plainFolder, testBuild: true, mutations });
  const wrong = [];
  try {
    const clients = new Clients(members.endpoints);
    for (const one of pauses) wrong.push(...(await pauseOnce(members, one)));
    await clients.end();
    const { registers } = clients;
    say(
      `  ${registers.reads} reads, ${registers.writes} writes, ${registers.problems.length} not linearizable`,
    );
    if (registers.reads < 100 || registers.writes < 100) wrong.push('hardly anything was answered');
    return { wrong, stale: registers.problems };
  } finally {
    await members.stop();
  }
}

const pauses = ['stopped', 'blocked'].flatMap((how) =>
  ['follower', 'leader'].flatMap((who) => TIMES.map((times) => ({ who, how, times }))),
);
const folder = mkdtempSync(join(tmpdir(), 'tidemark-pauses-'));
let exit = 0;
for (let round = 0; round < Number(options.rounds); round++) {
  say(`round ${round}`);
  const own = join(folder, `round-${round}`);
  mkdirSync(own);
  const { wrong, stale } = await run(own, { pauses });
  for (const line of [...new Set([...wrong, ...stale])].slice(0, 10)) say(`  WRONG: ${line}`);
  if (wrong.length + stale.length > 0) exit = 1;
}
say('control: reads that no quorum confirms');
const long = Array.from({ length: 4 }, () => ({ who: 'leader', how: 'stopped', times: 5 }));
let stale = [];
for (let attempt = 0; attempt < CONTROLS && stale.length === 0; attempt++) {
  const own = join(folder, `control-${attempt}`);
  mkdirSync(own);
  ({ stale } = await run(own, { pauses: long, mutations: ['raft.readIndexWithoutQuorum'] }));
}
if (stale.length > 0) say(`  as it must, this was found out: ${stale[0]}`);
else say('  UNKNOWN: it was not found out');
if (stale.length === 0 && exit === 0) exit = 2;
if (exit !== 1) rmSync(folder, { recursive: true, force: true });
else say(`logs are kept in ${folder}`);
process.exit(exit);
