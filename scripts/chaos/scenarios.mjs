// The faults, each by its name. A scenario resolves with true once its consequence was seen, else with false:
// then it counts for nothing and is tried again.
import { FAILOVERS } from './failovers.mjs';
import { pause, randomOf, within } from './timing.mjs';

const HIT_WITHIN_MS = 8_000;
const CONSEQUENCE_WITHIN_MS = 20_000;
const SESSION_MS = 3_000;

/** Arms a failpoint in a child and waits for its hit. */
async function placed({ hits }, child, arm) {
  const mark = hits.mark;
  child.send({ testBuild: 'arm', arm });
  const hit = await hits.after(
    mark,
    (item) => item.child === child && item.hit.name === arm.name,
    HIT_WITHIN_MS,
  );
  if (hit === undefined) child.send({ testBuild: 'disarm', name: arm.name });
  return hit?.hit;
}

async function restart(child, random) {
  await child.exited;
  await pause(random(600));
  child.start();
}

async function collectorHost({ client, cluster }) {
  const [source] = await client.listSources();
  const executors = await client.listExecutors();
  const host = executors.find(({ executorId }) => executorId === source?.collectorExecutorId);
  const child = cluster.executors.find(({ name }) => name === host?.name);
  return child?.running ? { child, epoch: source.collectorEpoch } : undefined;
}

const epochAbove = (world, epoch) =>
  within(CONSEQUENCE_WITHIN_MS, async () => {
    const [source] = await world.client.listSources();
    return source !== undefined && source.collectorEpoch > epoch;
  });

/** A window that is sealed after now. */
async function sealedAgain({ client }) {
  const [before] = await client.listSources();
  const found = await within(CONSEQUENCE_WITHIN_MS, async () => {
    const [source] = await client.listSources();
    return source !== undefined && source.lastWindow > (before?.lastWindow ?? 0n);
  });
  return found === true;
}

function anyExecutor({ cluster, random }) {
  const running = cluster.executors.filter((child) => child.running && !child.suspended);
  return running[random(running.length)];
}

/** Something happens at a place of the collector. */
const collectorAt = (name, action) => async (world) => {
  const host = await collectorHost(world);
  if (host === undefined) return false;
  const hit = await placed(world, host.child, { name, action });
  if (hit === undefined) return false;
  if (action === 'kill') {
    await restart(host.child, world.random);
    const taken = (await epochAbove(world, host.epoch)) === true;
    if (taken && Number(hit.detail.rows) > 0) world.events.count('collector takeovers with unsealed rows');
    return taken;
  }
  if (action === 'pause') {
    await pause(500 + world.random(1_500));
    host.child.send({ testBuild: 'release', name });
    return sealedAgain(world);
  }
  return (await epochAbove(world, host.epoch)) === true;
};

/** What was merged and never reported is replaced by the next version. */
async function killedBeforeReport(world) {
  const mark = world.records.mark;
  if (!(await taskAt('executor.afterCommitBeforeReport', 'kill')(world))) return false;
  const replaced = ({ record }) => record.replaced === true;
  return (await world.records.after(mark, replaced, CONSEQUENCE_WITHIN_MS)) !== undefined;
}

/** Something happens at a place of a task. */
const taskAt = (name, action) => async (world) => {
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const hit = await placed(world, child, { name, action });
  if (hit === undefined) return false;
  if (action === 'kill') await restart(child, world.random);
  if (action === 'pause') {
    await pause(world.random(2_000));
    child.send({ testBuild: 'release', name });
  }
  return sealedAgain(world);
};

/**
 * An executor is stopped at a place and sleeps past its session; others do its work; it wakes and goes on
 * with what it held.
 */
const stoppedAt = (name, forMs) => async (world) => {
  const { records } = world;
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const hit = await placed(world, child, { name, action: 'pause' });
  if (hit === undefined) return false;
  child.suspend();
  await pause(SESSION_MS + forMs + world.random(2_000));
  const mark = records.mark;
  child.send({ testBuild: 'release', name });
  child.resume();
  const { token } = hit.detail;
  const ended = await records.after(mark, ({ record }) => record.token === token, CONSEQUENCE_WITHIN_MS);
  if (ended?.record.result === 'DONE')
    world.problems.push(`token ${token} merged after its session had ended`);
  return sealedAgain(world);
};

const leaderKilledAt = (name, match) => async (world) => {
  const { cluster } = world;
  const child = await cluster.leader();
  const hit = await placed(world, child, { name, action: 'kill', ...(match === undefined ? {} : { match }) });
  if (hit === undefined) return false;
  await cluster.doors.untilCommitted(performance.now(), CONSEQUENCE_WITHIN_MS);
  const next = await cluster.leader();
  await restart(child, world.random);
  if (next !== child) world.events.count('leader changes with tasks in flight');
  return next !== child;
};

async function leaderKilledDuringMerge(world) {
  const { cluster } = world;
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const name = 'executor.beforeMergeCommit';
  const hit = await placed(world, child, { name, action: 'pause' });
  if (hit === undefined) return false;
  const leader = await cluster.leader();
  leader.kill();
  await leader.exited;
  child.send({ testBuild: 'release', name });
  await pause(world.random(600));
  leader.start();
  return sealedAgain(world);
}

/** Two collectors alive: the first is stopped past its session and wakes beside its successor. */
async function twoCollectors(world) {
  const host = await collectorHost(world);
  if (host === undefined) return false;
  host.child.suspend();
  const taken = await epochAbove(world, host.epoch);
  host.child.resume();
  return taken === true && sealedAgain(world);
}

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

const anyStore = ({ servers, random }) => servers.stores[random(servers.stores.length)];

/** The advance of row states breaks off inside its transaction, and goes on elsewhere. */
const statesAt = (action) => async (world) => {
  const name = 'executor.beforeStatesCommit';
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const hit = await placed(world, child, { name, action });
  if (hit === undefined) return false;
  if (action === 'kill') await restart(child, world.random);
  if (action === 'pause') {
    child.suspend();
    await pause(SESSION_MS + 1_000 + world.random(2_000));
    child.send({ testBuild: 'release', name });
    child.resume();
  }
  const passed = await within(CONSEQUENCE_WITHIN_MS, async () => {
    const [source] = await world.client.listSources();
    return source?.states.every(({ window }) => window >= BigInt(hit.detail.window));
  });
  return passed === true && sealedAgain(world);
};

/** A captured table gets a column while it changes. */
async function altered(world) {
  const { mark } = world.records;
  const [{ columns }] = await world.servers.source.query(
    `SELECT COUNT(*) AS columns FROM information_schema.columns
     WHERE table_schema = 'chaos' AND table_name = 'sales'`,
  );
  await world.servers.source.query(`ALTER TABLE chaos.sales ADD COLUMN more_${columns} BIGINT NULL`);
  const told = ({ record }) => record.msg === 'a table was altered';
  const seen = await world.records.after(mark, told, CONSEQUENCE_WITHIN_MS);
  return seen !== undefined && sealedAgain(world);
}

async function largeTransaction(world) {
  await world.load.large(world.largeRows);
  return sealedAgain(world);
}

export const SCENARIOS = {
  'collector killed before its mark': collectorAt('collector.beforeMark', 'kill'),
  'collector killed before its seal': collectorAt('collector.beforeSeal', 'kill'),
  'collector held before its seal': collectorAt('collector.beforeSeal', 'pause'),
  'collector fails before its seal': collectorAt('collector.beforeSeal', 'error'),
  'two collectors alive': twoCollectors,
  'executor killed after computing': taskAt('executor.afterCompute', 'kill'),
  'executor held after computing': taskAt('executor.afterCompute', 'pause'),
  'executor fails after computing': taskAt('executor.afterCompute', 'error'),
  'executor killed inside the merge transaction': taskAt('executor.beforeMergeCommit', 'kill'),
  'executor fails inside the merge transaction': taskAt('executor.beforeMergeCommit', 'error'),
  'executor killed between commit and report': killedBeforeReport,
  'executor held between commit and report': taskAt('executor.afterCommitBeforeReport', 'pause'),
  'executor stopped between compute and merge': stoppedAt('executor.afterCompute', 1_000),
  'executor stopped inside the merge transaction': stoppedAt('executor.beforeMergeCommit', 1_000),
  'leader killed between grant and dispatch': leaderKilledAt('scheduler.afterGrantBeforeDispatch', {
    kind: 'task',
  }),
  'leader killed during a merge': leaderKilledDuringMerge,
  'a process killed': killed,
  'a process stopped': stopped,
  'connections to the store cut': connectionsCut((world) => anyStore(world).primary),
  'connections to the reports cut': connectionsCut(({ servers }) => servers.reports.primary),
  'the store hangs': serverStopped((world) => anyStore(world).primary),
  'a replica of the store hangs': serverStopped((world) => anyStore(world).replica),
  'the report database hangs': serverStopped(({ servers }) => servers.reports.primary),
  'the source hangs': serverStopped(({ servers }) => servers.source),
  'executor killed inside the advance of row states': statesAt('kill'),
  'executor fails inside the advance of row states': statesAt('error'),
  'executor stopped inside the advance of row states': statesAt('pause'),
  'a table gets a column': altered,
  'a large transaction': largeTransaction,
  ...FAILOVERS,
};

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
  const others = names.filter((name) => !ALWAYS.includes(name));
  while (others.length > Number(draw) - ALWAYS.length) others.splice(random(others.length), 1);
  return [...ALWAYS, ...others];
}
