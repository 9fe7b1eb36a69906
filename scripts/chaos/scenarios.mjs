// The faults, each by its name. A scenario resolves with true once its consequence was seen, else with false:
// then it counts for nothing and is tried again.
import { CLOCK_JUMPS } from './clock-jumps.mjs';
import { EDGES } from './edges.mjs';
import { FAILOVERS } from './failovers.mjs';
import { NETWORK_FAULTS } from './network-faults.mjs';
import { anyStore, restart, sealedAgain } from './placed.mjs';
import { REPORT_CHANGES } from './report-changes.mjs';
import { RESTORES } from './restores.mjs';
import { SOURCE_FAULTS } from './source-faults.mjs';
import { pause, randomOf } from './timing.mjs';

async function killed(world) {
  const { cluster, random } = world;
  const child = cluster.children[random(cluster.children.length)];
  if (!child.running || child.suspended) return false;
  child.kill();
  await restart(child, random);
  return sealedAgain(world);
}

async function stopped(world) {
  const { cluster, random } = world;
  const child = cluster.children[random(cluster.children.length)];
  if (!child.running || child.suspended) return false;
  child.suspend();
  await pause(200 + random(5_000));
  child.resume();
  return sealedAgain(world);
}

/** Connections of the executors at a database server are cut, wherever they are in their work. */
const connectionsCut = (serverOf) => async (world) => {
  const server = serverOf(world);
  const rows = await server.query(
    "SELECT id FROM information_schema.processlist WHERE user = 'app' AND command <> 'Binlog Dump'",
  );
  let cut = 0;
  for (const { id } of rows) {
    // It may have gone by itself.
    await server.query(`KILL ${id}`).then(
      () => (cut += 1),
      () => undefined,
    );
  }
  return cut > 0 && sealedAgain(world);
};

const serverStopped = (serverOf) => async (world) => {
  const { pid } = serverOf(world);
  process.kill(pid, 'SIGSTOP');
  await pause(300 + world.random(4_000));
  process.kill(pid, 'SIGCONT');
  return sealedAgain(world);
};

export const SCENARIOS = {
  ...EDGES,
  'a process killed': killed,
  'a process stopped': stopped,
  ...CLOCK_JUMPS,
  ...NETWORK_FAULTS,
  'connections to the store cut': connectionsCut((world) => anyStore(world).primary),
  'connections to the reports cut': connectionsCut(({ servers }) => servers.reports.primary),
  'the store hangs': serverStopped((world) => anyStore(world).primary),
  'a replica of the store hangs': serverStopped((world) => anyStore(world).replica),
  'the report database hangs': serverStopped(({ servers }) => servers.reports.primary),
  'the source hangs': serverStopped(({ servers }) => servers.source),
  ...SOURCE_FAULTS,
  ...REPORT_CHANGES,
  ...FAILOVERS,
  ...RESTORES,
};

/** These stop processes of the cluster or a part of their work; what runs beside them does neither. */
const OF_CLUSTER = [...Object.keys(EDGES), ...Object.keys(NETWORK_FAULTS), ...Object.keys(CLOCK_JUMPS)];
const BESIDE = [
  'connections to the store cut',
  'connections to the reports cut',
  'the store hangs',
  'a replica of the store hangs',
  'the report database hangs',
  'the source hangs',
  'a large transaction',
  'transactions of the source deadlock',
];

/** Which of a run's faults may begin while `name` is under way. */
export const together = (name, names) =>
  OF_CLUSTER.includes(name) ? names.filter((other) => BESIDE.includes(other)) : [];

/** Longer than a short run should wait for. */
const LONG = ['executor stopped for a minute inside the merge transaction'];

/** Without these a run proves nothing (evidence rule 3). */
const ALWAYS = [
  'collector killed before its mark',
  'executor killed between commit and report',
  'executor stopped between compute and merge',
  'leader killed between grant and dispatch',
];

/** Names of the faults of a run: those whose name matches `only`, or so many as `draw` says, by the seed. */
export function chosen({ only, draw, seed }) {
  const names = Object.keys(SCENARIOS).filter((name) => new RegExp(only ?? '').test(name));
  if (draw === undefined) return names;
  const random = randomOf(Number(seed));
  const others = names.filter((name) => !ALWAYS.includes(name) && !LONG.includes(name));
  while (others.length > Number(draw) - ALWAYS.length) others.splice(random(others.length), 1);
  return [...ALWAYS, ...others];
}
