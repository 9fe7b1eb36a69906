// npm run test:half-cuts [-- --short]
// Links between three real coordinators are cut in one direction, between two of them only, or again and
// again, under load. A follower that is half cut off never unseats a healthy leader; a leader that hears no
// majority gives way; writes go on, and no client sees anything that is not linearizable.
// Exit codes: 0 all held, 1 something is wrong, 2 unknown (a control found nothing).
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { pause, until } from '../../bench/cluster.mjs';
import { Clients } from './clients.mjs';
import { Links } from './links.mjs';
import { Members, plainFolder } from './members.mjs';

const say = (line) => process.stdout.write(`${line}\n`);

const { values: options } = parseArgs({ options: { short: { type: 'boolean', default: false } } });
/** The short part shares the machine with other tests; without the rules these times are without an end. */
const PATIENCE = options.short ? 3 : 1;
/** More than two election timeouts, or more than three. */
const LONG_MS = options.short ? 1_600 : 2_500;
/** Check-quorum looks once in each election timeout of 0.7 s; the rest is the machine's. */
const STEPS_DOWN_MS = PATIENCE * 3_000;
const WRITES_MS = PATIENCE * 5_000;

/** Cuts of which the leader must take no notice: it and its term stay, and writes go on meanwhile. */
const HARMLESS = {
  'follower hears nobody': ({ leader, follower, other }) => [
    [leader, follower],
    [other, follower],
  ],
  'follower does not hear the leader': ({ leader, follower }) => [[leader, follower]],
  'leader does not hear a follower': ({ leader, follower }) => [[follower, leader]],
  'leader and follower meet in the third only': ({ leader, follower }) => [
    [leader, follower],
    [follower, leader],
  ],
  'followers do not hear each other': ({ follower, other }) => [
    [follower, other],
    [other, follower],
  ],
};

/** Cuts that take the majority from the leader. */
const HARMFUL = {
  'leader hears nobody': ({ leader, follower, other }) => [
    [follower, leader],
    [other, leader],
  ],
  'nobody hears the leader': ({ leader, follower, other }) => [
    [leader, follower],
    [leader, other],
  ],
};

class Run {
  wrong = [];
  #members;
  #links;

  constructor(members, links) {
    this.#members = members;
    this.#links = links;
  }

  async harmless(name, { flaps = 0 } = {}) {
    const { leader, term, cuts } = await this.#prepare(HARMLESS[name]);
    const endsAt = performance.now() + LONG_MS;
    for (const [from, to] of cuts) this.#links.cut(from, to);
    while (performance.now() < endsAt) {
      await this.#write(WRITES_MS);
      if (flaps > 0) await this.#flap(cuts, flaps);
    }
    const after = await this.#standing();
    this.#links.healAll();
    const healed = await this.#level();
    const what = flaps > 0 ? `${name}, again and again` : name;
    const kept = [after, healed].every((one) => one.leader === leader && one.term === term);
    if (!kept)
      this.wrong.push(`${what}: term ${term} of ${leader} became ${healed.term} of ${healed.leader}`);
    say(`  ${what}: term +${healed.term - term}`);
  }

  async harmful(name) {
    const { leader, term, cuts } = await this.#prepare(HARMFUL[name]);
    for (const [from, to] of cuts) this.#links.cut(from, to);
    const began = performance.now();
    const since = () => Math.round(performance.now() - began);
    const steppedDown = this.#until(STEPS_DOWN_MS, async () => (await this.#roleOf(leader)) !== 'leader');
    const [down, wrote] = await Promise.all([steppedDown.then(since), this.#write(WRITES_MS).then(since)]);
    const before = await this.#standing();
    if (down > STEPS_DOWN_MS) this.wrong.push(`${name}: it still led after ${down} ms`);
    if (wrote > WRITES_MS) this.wrong.push(`${name}: no write for ${wrote} ms`);
    // The old leader asks for votes in vain now.
    await pause(LONG_MS / 2);
    this.#links.healAll();
    const { leader: now, term: at } = await this.#level();
    if (now === leader || now !== before.leader || at !== before.term)
      this.wrong.push(`${name}: ${before.leader} led in ${before.term}, then ${now} in ${at}`);
    say(`  ${name}: it gave way after ${down} ms, writes went on after ${wrote} ms, term +${at - term}`);
  }

  async #prepare(cutsOf) {
    const { leader, term } = await this.#level();
    const [follower, other] = [1, 2, 3].filter((id) => id !== leader);
    return { leader, term, cuts: cutsOf({ leader, follower, other }) };
  }

  async #flap(cuts, ms) {
    for (const [from, to] of cuts) this.#links.heal(from, to);
    await pause(ms * Math.random());
    for (const [from, to] of cuts) this.#links.cut(from, to);
    await pause(ms * Math.random());
  }

  async #level() {
    await this.#members.level();
    return this.#standing();
  }

  /** Who leads, of those that say so the one with the highest term. */
  async #standing() {
    const found = (await this.#members.client.status()).map(({ status }) => status);
    const [leader] = found
      .filter((status) => status?.role === 'leader')
      .sort((a, b) => Number(b.term - a.term));
    const terms = found.map((status) => Number(status?.term ?? 0));
    return { leader: Number(leader?.memberId ?? 0), term: Math.max(...terms) };
  }

  async #roleOf(id) {
    return (await this.#members.client.status())[id - 1].status?.role;
  }

  async #write(withinMs) {
    const write = () => this.#members.client.kv.put('half-cut', 'x');
    await until('a write', write, withinMs).catch((error) => this.wrong.push(error.message));
  }

  async #until(withinMs, holds) {
    const endsAt = performance.now() + withinMs;
    while (!(await holds()) && performance.now() < endsAt) await pause(20);
  }
}

async function run(folder, work, mutations = []) {
  mkdirSync(folder);
  let links;
  const before = async (ports) => {
    links = await Links.before(ports);
    return links.ports;
  };
  const members = await Members.start(folder, 3, { disk: plainFolder, mutations, before });
  try {
    const clients = new Clients(members.endpoints, options.short ? 10 : 1);
    const one = new Run(members, links);
    await work(one);
    await clients.end();
    const { reads, writes, problems } = clients.registers;
    say(`  ${reads} reads, ${writes} writes, ${problems.length} not linearizable`);
    if (mutations.length === 0 && (reads < 50 || writes < 20)) one.wrong.push('hardly anything was answered');
    return [...one.wrong, ...problems];
  } finally {
    await members.stop();
    links.close();
  }
}

async function everything(one) {
  for (const name of Object.keys(HARMLESS)) await one.harmless(name);
  for (const name of Object.keys(HARMLESS))
    for (const ms of [100, 600]) await one.harmless(name, { flaps: ms });
  for (const name of [...Object.keys(HARMFUL), ...Object.keys(HARMFUL)]) await one.harmful(name);
}

async function short(one) {
  await one.harmless('leader and follower meet in the third only', { flaps: 600 });
  await one.harmful('leader hears nobody');
}

/** Without its rule the same must go wrong, or it shows nothing: so also when it could not be run. */
const CONTROLS = [
  ['raft.noCheckQuorum', (one) => one.harmful('leader hears nobody')],
  ['raft.noPreVote', (one) => one.harmless('follower does not hear the leader')],
];

const folder = mkdtempSync(join(tmpdir(), 'tidemark-half-cuts-'));
const wrong = await run(join(folder, 'run'), options.short ? short : everything);
for (const line of wrong.slice(0, 10)) say(`  WRONG: ${line}`);
let exit = wrong.length > 0 ? 1 : 0;
for (const [mutation, work] of options.short ? [] : CONTROLS) {
  say(`control: ${mutation}`);
  const judged = run(join(folder, mutation), work, [mutation]);
  const { found, why } = await judged.then(
    ([first]) => ({ found: first, why: 'it was not found out' }),
    (error) => ({ why: `it did not come to its end: ${error.message}` }),
  );
  if (found === undefined && exit === 0) exit = 2;
  say(found === undefined ? `  UNKNOWN: ${why}` : `  as it must, this was found out: ${found}`);
}
if (exit !== 1) rmSync(folder, { recursive: true, force: true });
else say(`logs are kept in ${folder}`);
process.exit(exit);
