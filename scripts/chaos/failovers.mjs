// Faults of the databases with replicas: a replica lags or dies, a primary dies before its replica had its
// last commits, or goes on answering after its replica was promoted.
import { anyStore, mergedAgain } from './placed.mjs';
import { pause, within } from './timing.mjs';

const LOST_MARKS = 3;
const LOST_MERGES = 8;
const CONSEQUENCE_WITHIN_MS = 40_000;
const ANSWERS_FOR_MS = 4_000;

const numberOf = async (server, sql) => Number(Object.values((await server.query(sql))[0])[0] ?? 0);
const lastMark = (server) => numberOf(server, 'SELECT MAX(_window) FROM chaos.tm_mark');
const merges = (server) => numberOf(server, 'SELECT COUNT(*) FROM chaos.tm_ledger WHERE applied > 0');
const sinkEpoch = async (server) =>
  BigInt((await server.query('SELECT epoch FROM chaos.tm_sink'))[0]?.epoch ?? 0);

const replicaLags = (forMs) => async (world) => {
  const { primary, replica } = anyStore(world);
  await replica.query('STOP SLAVE SQL_THREAD');
  const merged = await mergedAgain(world);
  await pause(forMs(world.random));
  const [has, lacks] = [await lastMark(primary), await lastMark(replica)];
  await replica.query('START SLAVE');
  const caught = await replica.catchUp(primary);
  return merged && lacks < has && caught;
};

async function replicaKilled(world) {
  const { primary, replica } = anyStore(world);
  await replica.kill();
  const merged = await mergedAgain(world);
  await replica.restart();
  await replica.query('START SLAVE');
  return merged && (await replica.catchUp(primary));
}

/** What the replica has not is made before the primary goes. */
const losing = (count, least) => async (group) => {
  const had = await count(group.replica);
  const enough = await within(CONSEQUENCE_WITHIN_MS, async () => (await count(group.primary)) >= had + least);
  return { had, enough: enough === true };
};

async function storeFailedOver(world) {
  const group = anyStore(world);
  // The initial snapshot, which no log shows again, must not be lost.
  if (!(await group.replica.catchUp(group.primary)) || (await lastMark(group.replica)) < 2) return false;
  const { mark } = world.records;
  const { former, enough } = await group.failOver(() => losing(lastMark, LOST_MARKS)(group));
  const again = ({ record }) => record.msg === 'captured again';
  const captured = await world.records.after(mark, again, CONSEQUENCE_WITHIN_MS);
  const merged = await mergedAgain(world);
  await former.rebuild(group.primary);
  const caught = await group.replica.catchUp(group.primary);
  return enough && captured !== undefined && merged && caught;
}

/** `answers`: the former primary still takes what reaches it for a while. */
const reportsFailedOver =
  ({ answers }) =>
  async (world) => {
    const group = world.servers.reports;
    const before = await sinkEpoch(group.primary);
    const { former, enough } = await group.failOver(() => losing(merges, LOST_MERGES)(group), { answers });
    const reconciled = await within(
      CONSEQUENCE_WITHIN_MS,
      async () => (await sinkEpoch(group.primary)) > before,
    );
    if (answers) {
      await pause(world.random(ANSWERS_FOR_MS));
      await former.kill();
    }
    const merged = await mergedAgain(world);
    await former.rebuild(group.primary);
    const caught = await group.replica.catchUp(group.primary);
    return enough && reconciled === true && merged && caught;
  };

export const FAILOVERS = {
  'a replica of the store lags': replicaLags((random) => random(4_000)),
  'a replica of the store lags for half a minute': replicaLags(() => 30_000),
  'a replica of the store killed': replicaKilled,
  'the store fails over and loses windows': storeFailedOver,
  'the reports fail over and lose merges': reportsFailedOver({ answers: false }),
  'the reports fail over, the old primary answers': reportsFailedOver({ answers: true }),
};
