// Wall clocks that jump by an hour, of the leader and of the collector's host. They stay so until the process
// ends or its clock jumps again; monotonic time goes on.
import { collectorHost, CONSEQUENCE_WITHIN_MS, epochAbove, mergedAgain, placed } from './placed.mjs';

const HOUR_MS = 3_600_000;
const offBy =
  (of, aheadMs) =>
  ({ child, record }) =>
    child === of && Math.abs(Date.parse(record.time) - Date.now() - aheadMs) < HOUR_MS / 2;

/** It leads on, then hands over, for the line that it logs then shows the time. */
const leaderJumps = (aheadMs) => async (world) => {
  const { cluster, client, records } = world;
  const child = await cluster.leader();
  child.send({ testBuild: 'wallClock', aheadMs });
  if (!(await mergedAgain(world))) return false;
  const { mark } = records;
  await client.transferLeader();
  const shown = await records.after(mark, offBy(child, aheadMs), CONSEQUENCE_WITHIN_MS);
  return shown !== undefined && mergedAgain(world);
};

/** Its collector is made to fail, for the line that it logs then shows the time. */
const executorJumps = (aheadMs) => async (world) => {
  const host = await collectorHost(world);
  if (host === undefined) return false;
  const { mark } = world.records;
  host.child.send({ testBuild: 'wallClock', aheadMs });
  if ((await placed(world, host.child, { name: 'collector.beforeSeal', action: 'error' })) === undefined)
    return false;
  const shown = await world.records.after(mark, offBy(host.child, aheadMs), CONSEQUENCE_WITHIN_MS);
  return shown !== undefined && (await epochAbove(world, host.epoch)) === true && mergedAgain(world);
};

export const CLOCK_JUMPS = {
  "the leader's clock an hour ahead": leaderJumps(HOUR_MS),
  "the leader's clock an hour behind": leaderJumps(-HOUR_MS),
  "the collector's clock an hour ahead": executorJumps(HOUR_MS),
  "the collector's clock an hour behind": executorJumps(-HOUR_MS),
};
