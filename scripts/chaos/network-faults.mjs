// Faults of the network between executors and servers: cuts in one or both directions that heal, and answers
// that are lost after their effect.
import {
  anyExecutor,
  collectorHost,
  CONSEQUENCE_WITHIN_MS,
  epochAbove,
  mergedAgain,
  placed,
  SESSION_MS,
} from './placed.mjs';
import { pause, within } from './timing.mjs';

const REPORTED_WITHIN_MS = 500;
/** More than what is said of the time. */
const LOG_BYTES = 2_000;
const coordinators = (name) => /^c\d$/.test(name);
const reports = (name) => name.startsWith('reports');
const stores = (name) => name.startsWith('store');

/**
 * One of the two executors is cut off for longer than its session, while it has work; the other does it. It
 * comes back, and is told of what it missed.
 */
const cutOff =
  ({ at, said, heard }) =>
  async (world) => {
    const { network, random, client } = world;
    const child = anyExecutor(world);
    if (child === undefined) return false;
    const cut = network.cut(child, { at, said, heard });
    const is = (state) => async () => (await stateOf(client, child)) === state;
    const gone = await within(CONSEQUENCE_WITHIN_MS, is('disconnected'));
    const merged = gone === true && (await mergedAgain(world));
    await pause(random(2_000));
    const bytes = cut.bytes();
    cut.heal();
    const back = await within(CONSEQUENCE_WITHIN_MS, is('live'));
    return merged && bytes > 0 && back === true && mergedAgain(world);
  };

async function stateOf(client, { name }) {
  const executors = await client.listExecutors();
  return executors.find((executor) => executor.name === name)?.state ?? 'disconnected';
}

/** A database server is out of an executor's reach for a while; its session goes on. */
const databaseCutOff = (at) => async (world) => {
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const cut = world.network.cut(child, { at, said: 'held', heard: 'held' });
  await pause(SESSION_MS + world.random(4_000));
  const bytes = cut.bytes();
  cut.heal();
  return bytes > 0 && mergedAgain(world);
};

/**
 * What is asked for at a failpoint takes effect, and its answer never arrives: the connection breaks after.
 * `measure` looks at what grows by the effect; `then` sees what follows from the lost answer.
 */
const answerLost =
  ({ name, at, measure, direction = 'heard', of = anyExecutor, then = () => true }) =>
  async (world) => {
    const child = await of(world);
    if (child === undefined) return false;
    const { mark } = world.records;
    const hit = await placed(world, child, { name, action: 'pause' });
    if (hit === undefined) return false;
    const cut = world.network.cut(child, { at, [direction]: 'lost' });
    const before = await measure(world, hit.detail);
    child.send({ testBuild: 'release', name });
    const happened = await within(
      CONSEQUENCE_WITHIN_MS,
      async () => cut.bytes() > 0 && (await measure(world, hit.detail)) > before,
    );
    cut.heal();
    return happened === true && (await then(world, hit.detail, mark)) && mergedAgain(world);
  };

/**
 * A merge is committed, and its executor cut off before it reports; then those connections break. `said`: the
 * report is lost, and the task is open until it is told again. `heard`: the report has arrived, all answers
 * are lost.
 */
const reportLost = (direction) => async (world) => {
  const name = 'executor.afterCommitBeforeReport';
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const hit = await placed(world, child, { name, action: 'pause' });
  if (hit === undefined) return false;
  const cut = world.network.cut(child, { at: coordinators, [direction]: 'lost' });
  child.send({ testBuild: 'release', name });
  await pause(REPORTED_WITHIN_MS);
  const open = await isOpen(world, hit.detail);
  const lost = open === (direction === 'said') && cut.bytes() > 0;
  cut.heal();
  const ended = await within(CONSEQUENCE_WITHIN_MS, async () => !(await isOpen(world, hit.detail)));
  return lost && ended === true && mergedAgain(world);
};

/** A grant is committed, and what tells its executor of it is lost. */
async function dispatchLost(world) {
  const name = 'scheduler.afterGrantBeforeDispatch';
  const leader = await world.cluster.leader();
  const hit = await placed(world, leader, { name, action: 'pause', match: { kind: 'task' } });
  if (hit === undefined) return false;
  const { key, executorId } = hit.detail;
  const executors = await world.client.listExecutors();
  const target = executors.find((one) => String(one.executorId) === executorId);
  const child = world.cluster.executors.find((one) => one.name === target?.name);
  const cut = child === undefined ? undefined : world.network.cut(child, { at: coordinators, heard: 'lost' });
  leader.send({ testBuild: 'release', name });
  const lost = cut !== undefined && (await within(SESSION_MS, () => cut.bytes() > 0)) === true;
  await pause(REPORTED_WITHIN_MS);
  const open = await isOpen(world, { task: key });
  cut?.heal();
  const ended = await within(CONSEQUENCE_WITHIN_MS, async () => !(await isOpen(world, { task: key })));
  return lost && open && ended === true && mergedAgain(world);
}

/** The rows that a report's SQL gave are lost on their way; the query is made again. */
async function resultLost(world) {
  const name = 'executor.beforeCompute';
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const hit = await placed(world, child, { name, action: 'pause' });
  if (hit === undefined) return false;
  const cut = world.network.cut(child, { at: stores, heard: 'lost' });
  child.send({ testBuild: 'release', name });
  const lost = await within(CONSEQUENCE_WITHIN_MS, () => cut.bytes() > 0);
  const open = await isOpen(world, hit.detail);
  cut.heal();
  const ended = await within(CONSEQUENCE_WITHIN_MS, async () => !(await isOpen(world, hit.detail)));
  return lost === true && open && ended === true && mergedAgain(world);
}

/** Some of the source's log is lost on its way to the collector, which reads on from where it was. */
async function logLost(world) {
  const host = await collectorHost(world);
  if (host === undefined) return false;
  const cut = world.network.cut(host.child, { at: (name) => name === 'source', heard: 'lost' });
  const lost = await within(CONSEQUENCE_WITHIN_MS, () => cut.bytes() > LOG_BYTES);
  cut.heal();
  const taken = lost === true && (await epochAbove(world, host.epoch));
  return taken === true && mergedAgain(world);
}

async function isOpen({ client }, { task, token }) {
  const tasks = await client.listTasks({ state: 'ASSIGNED', limit: 500 });
  return tasks.some((one) => one.task === task && (token === undefined || String(one.token) === token));
}

const hostOf = async (world) => (await collectorHost(world))?.child;

async function seals({ client }, { window, epoch }) {
  const windows = await client.listWindows({ limit: 50 });
  return windows.filter((sealed) => String(sealed.window) === window && String(sealed.epoch) === epoch)
    .length;
}

const count = async (server, sql, values) => Number((await server.query(sql, values))[0].n);

const onStores = async ({ servers }, sql, values) => {
  const counts = await Promise.all(servers.stores.map(({ primary }) => count(primary, sql, values)));
  return counts.reduce((sum, n) => sum + n, 0);
};

const merges = ({ servers }, { token }) =>
  count(servers.reports.primary, 'SELECT COUNT(*) AS n FROM chaos.tm_ledger WHERE applied = ?', [token]);

/** Only ever more: the number of the last window that they hold, over all shards. */
const states = (world) => onStores(world, 'SELECT MAX(_window) AS n FROM chaos.tm_state_mark', []);

/** Marks and change rows of the collector's epoch on all shards. A new table is on one of them first. */
async function stored({ servers }, { epoch }) {
  const counts = await Promise.all(
    servers.stores.map(async ({ primary }) => {
      const tables = await primary.query("SHOW TABLES FROM chaos LIKE 'tm\\_change\\_%'");
      const names = ['tm_mark', ...tables.map((row) => Object.values(row)[0])];
      const sums = names.map(
        (name) => `(SELECT COUNT(*) FROM chaos.${name} WHERE _epoch = ${BigInt(epoch)})`,
      );
      return count(primary, `SELECT ${sums.join(' + ')} AS n`, []);
    }),
  );
  return counts.reduce((sum, n) => sum + n, 0);
}

const takenOver = async (world, { epoch }) => (await epochAbove(world, BigInt(epoch))) === true;

/** The ledger was asked, and the task was found done. */
async function foundDone({ records }, { token }, mark) {
  const found = ({ record }) => record.token === token && record.foundDone === true;
  return (await records.after(mark, found, CONSEQUENCE_WITHIN_MS)) !== undefined;
}

export const NETWORK_FAULTS = {
  'one of two executors cut off from everything': cutOff({ said: 'held', heard: 'held' }),
  'one of two executors cut off from the coordinators': cutOff({
    at: coordinators,
    said: 'held',
    heard: 'held',
  }),
  'an executor is not heard': cutOff({ at: coordinators, said: 'held' }),
  'an executor hears nothing': cutOff({ at: coordinators, heard: 'held' }),
  'an executor cut off from the reports': databaseCutOff(reports),
  'an executor cut off from the store': databaseCutOff(stores),
  'a part of the log of the source lost': logLost,
  'a dispatch lost': dispatchLost,
  'rows of a query of a report lost': resultLost,
  'answer of a seal lost': answerLost({
    name: 'collector.beforeSeal',
    at: coordinators,
    measure: seals,
    of: hostOf,
  }),
  'answer of a COMMIT of change rows lost': answerLost({
    name: 'collector.beforeStoreCommit',
    at: stores,
    measure: stored,
    then: takenOver,
    of: hostOf,
  }),
  'answer of a COMMIT of a merge lost': answerLost({
    name: 'executor.atMergeCommit',
    at: reports,
    measure: merges,
    then: foundDone,
  }),
  'answer of a COMMIT of row states lost': answerLost({
    name: 'executor.beforeStatesCommit',
    at: stores,
    measure: states,
  }),
  'report of a merge lost': reportLost('said'),
  'answers to an executor that reports lost': reportLost('heard'),
};
