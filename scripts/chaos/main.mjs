// npm run chaos [-- --minutes M --seed S --only NAME]
// Every fault by its name, then their random mixture, on real MariaDB with real processes; then every cell is
// compared with the source, and every change row must lie in exactly one sealed window. Exit codes: 0 all
// held, 1 something is wrong, 2 unknown (a fault never came about).
import { parseArgs } from 'node:util';
import mysql from 'mysql2/promise';
import { settle } from '../../dist/dev/settle.js';
import { Load } from './load.mjs';
import { compareCells, compareChanges, shown } from './oracle.mjs';
import { SCENARIOS } from './scenarios.mjs';
import { pause, startWorld, storeRoles, within } from './world.mjs';
import { WindowsSeen } from './windows-seen.mjs';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string' },
    rate: { type: 'string', default: '40' },
    large: { type: 'string', default: '20000' },
  },
});
const beganAt = performance.now();
const say = (line) =>
  process.stdout.write(`${((performance.now() - beganAt) / 1_000).toFixed(1)} s  ${line}\n`);
const WINDOW_MS = 500;
const READY_WITHIN_MS = 30_000;
const SETTLE_WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 2_000;

function randomOf(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const names = Object.keys(SCENARIOS).filter((name) => name.includes(options.only ?? ''));
if (names.length === 0) throw new Error(`no such fault; known: ${Object.keys(SCENARIOS).join(', ')}`);
const counts = new Map(names.map((name) => [name, { done: 0, missed: 0 }]));

const random = randomOf(Number(options.seed));
say(`seed ${options.seed}, ${options.minutes} minutes`);
const world = await startWorld({ windowMs: WINDOW_MS, say, random: randomOf(Number(options.seed) + 1) });
const { client, cluster, urls } = world;
const admins = {};
for (const role of Object.keys(urls)) admins[role] = await mysql.createConnection({ uri: urls[role] });
const load = new Load({
  url: urls.source,
  rate: Number(options.rate),
  random: randomOf(Number(options.seed) + 2),
});
Object.assign(world, {
  load,
  problems: [],
  largeRows: Number(options.large),
  admin: (role) => ({ connection: admins[role] }),
});
const seen = new WindowsSeen(client);
let looking = true;
const watching = (async () => {
  while (looking) {
    await seen.look();
    await pause(LOOK_EVERY_MS);
  }
})();
await load.start();

const ready = () =>
  within(READY_WITHIN_MS, async () => {
    const statuses = await cluster.doors.statuses();
    const leads = statuses.some((status) => status?.role === 'leader');
    return (
      leads &&
      statuses.every((status) => status !== undefined) &&
      cluster.children.every((child) => child.running && !child.suspended)
    );
  });

async function run(name) {
  if ((await ready()) === undefined) throw new Error('the cluster did not come back');
  const count = counts.get(name);
  let held = false;
  try {
    held = await SCENARIOS[name](world);
  } catch (error) {
    // A question that falls between two leaders: the fault has not come about.
    if (error.retry === undefined || error.retry === 'never') throw error;
  }
  if (held) count.done += 1;
  else count.missed += 1;
  say(`${held ? 'done  ' : 'missed'} ${name}`);
}

const endsAt = performance.now() + Number(options.minutes) * 60_000;
await within(READY_WITHIN_MS * 2, async () => ((await client.listSources())[0]?.lastWindow ?? 0n) > 0n);
const over = () => performance.now() > endsAt;
while (!over()) {
  // What has come about least is next; between faults of the list a random one.
  const least = [...counts].sort(([, a], [, b]) => a.done - b.done || a.missed - b.missed)[0][0];
  await run(random(3) === 0 ? names[random(names.length)] : least);
}

say('the load stops; waiting until all is merged');
await load.stop();
for (const child of cluster.children) {
  child.resume();
  child.start();
}
const [[end]] = await world.source.query('SELECT @@gtid_binlog_pos AS position');
const goal = Number(end.position.split('-')[2]);
const included = async () => {
  const [rows] = await admins.reports.query('SELECT position_text AS position FROM tm_watermark');
  return rows.length > 0 && rows.every(({ position }) => Number(position.split('-')[2] ?? 0) >= goal);
};
const settled = await settle({ client, included, withinMs: SETTLE_WITHIN_MS });
looking = false;
await watching;
await seen.look();
const windows = seen.all();
const cells = await compareCells({ source: urls.source, reports: urls.reports });
const stores = storeRoles(urls).map((role) => urls[role]);
const [{ sourceId }] = await client.listSources();
const changes = await compareChanges({ source: urls.source, stores, windows, sourceId });

say('');
for (const [name, { done, missed }] of counts)
  say(`${String(done).padStart(4)} times, ${missed} missed: ${name}`);
say(`load: ${JSON.stringify(load.totals)}`);
say(`${windows.length} windows, ${changes.rows} change rows, ${cells.cells} cells`);
const problems = [
  ...(settled.ok ? [] : settled.problems),
  ...cells.wrong,
  ...changes.wrong,
  ...seen.problems,
  ...world.problems,
  ...world.crashes.map((crash) => `a process ended by itself: ${crash}`),
];
for (const line of shown(problems)) say(`WRONG ${line}`);
const missing = [
  ...[...counts].filter(([, { done }]) => done === 0).map(([name]) => name),
  ...cells.empty.map((name) => `rows in report ${name}`),
];
for (const name of missing) say(`never came about: ${name}`);
const verdict = problems.length > 0 ? 'failed' : missing.length > 0 ? 'unknown' : 'passed';
say(`${verdict}: ${problems.length} problems`);
for (const connection of Object.values(admins)) await connection.end();
await world.end();
process.exitCode = { passed: 0, failed: 1, unknown: 2 }[verdict];
