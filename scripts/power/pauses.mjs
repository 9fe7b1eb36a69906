// npm run test:pauses [-- --rounds N]
// Leader and follower of three real coordinators stand still (SIGSTOP, or an event loop that is blocked) for
// 0.1 to 5 election timeouts, under load. No client may see anything that is not linearizable, a paused
// follower may not campaign, and the term may grow by the elections that a paused leader costs only.
// Exit codes: 0 all held, 1 something is wrong, 2 unknown (the control found nothing).
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pause } from '../../bench/cluster.mjs';
import { Clients } from './clients.mjs';
import { Members, plainFolder } from './members.mjs';

const ELECTION_MS = 700;
const TIMES = [0.1, 0.5, 1, 2, 5];
/** On a busy machine few clients are with the leader when it wakes. */
const CONTROLS = 4;
const say = (line) => process.stdout.write(`${line}\n`);

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '1' } } });

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
