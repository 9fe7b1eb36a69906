// Reports that are added, redefined, paused and removed online, each with an executor killed in the middle
// now and then.
import { jobTextOf, LATER_REPORTS } from './job.mjs';
import { anyExecutor, mergedAgain, restart } from './placed.mjs';
import { within } from './timing.mjs';

const APPLY_WITHIN_MS = 30_000;
const LIVE_WITHIN_MS = 60_000;

/** Applies the job with other reports, and kills an executor half of the time as soon as it is accepted. */
async function change(world, reports) {
  await applied(world, reports);
  if (world.random(2) === 0) return;
  const child = anyExecutor(world);
  if (child === undefined) return;
  child.kill();
  await restart(child, world.random);
}

/** Asked again while there is no leader, or no executor to check it; the same job takes effect once. */
async function applied(world, reports) {
  const text = jobTextOf({ ...world.job, reports });
  let failure;
  const done = await within(APPLY_WITHIN_MS, async () => {
    try {
      await world.client.apply(text);
      return true;
    } catch (error) {
      if (error.retry === 'never' && error.code !== 'NO_EXECUTOR') throw error;
      failure = error;
      return false;
    }
  });
  if (done !== true) throw failure;
  world.job.reports = reports;
}

const shownReports = async ({ client }) =>
  (await client.listReports()).filter(({ state }) => state !== 'dropping');

/** It is shown, and every window that is sealed by now is merged into it. */
async function isLive(world, name, { above = 0n } = {}) {
  const [source] = await world.client.listSources();
  const live = await within(LIVE_WITHIN_MS, async () => {
    const report = (await shownReports(world)).find((one) => one.name === name);
    return report?.state === 'live' && report.generation > above && report.mergedWindow >= source.lastWindow;
  });
  return live === true;
}

const laterNames = Object.keys(LATER_REPORTS);
const isThere = ({ job }) => laterNames.filter((name) => name in job.reports);
const without = (reports, name) =>
  Object.fromEntries(Object.entries(reports).filter(([one]) => one !== name));
const oneOf = (random, list) => list[random(list.length)];

async function added(world) {
  if (isThere(world).length === laterNames.length) {
    await applied(world, without(world.job.reports, oneOf(world.random, laterNames)));
  }
  const name = oneOf(
    world.random,
    laterNames.filter((one) => !isThere(world).includes(one)),
  );
  const [definition] = LATER_REPORTS[name];
  await change(world, { ...world.job.reports, [name]: definition });
  return (await isLive(world, name)) && mergedAgain(world);
}

async function removed(world) {
  if (isThere(world).length === 0 && !(await added(world))) return false;
  const name = oneOf(world.random, isThere(world));
  await change(world, without(world.job.reports, name));
  const gone = await within(LIVE_WITHIN_MS, async () => {
    const views = await world.servers.reports.primary.query(
      "SELECT table_name FROM information_schema.views WHERE table_schema = 'chaos' AND table_name = ?",
      [name],
    );
    return views.length === 0 && !(await world.client.listReports()).some((one) => one.name === name);
  });
  return gone === true && mergedAgain(world);
}

async function redefined(world) {
  if (isThere(world).length === 0 && !(await added(world))) return false;
  const name = oneOf(world.random, isThere(world));
  const before = (await shownReports(world)).find((one) => one.name === name);
  const [one, other] = LATER_REPORTS[name];
  const definition = world.job.reports[name] === one ? other : one;
  await change(world, { ...world.job.reports, [name]: definition });
  return (await isLive(world, name, { above: before.generation })) && mergedAgain(world);
}

async function paused(world) {
  const name = oneOf(world.random, Object.keys(world.job.reports));
  const definition = world.job.reports[name];
  await change(world, { ...world.job.reports, [name]: { ...definition, paused: true } });
  const stood = await within(LIVE_WITHIN_MS, async () => {
    const reports = await shownReports(world);
    const report = reports.find((one) => one.name === name);
    const others = reports.filter((one) => one.name !== name && one.state === 'live');
    return (
      report?.state === 'paused' && others.every((other) => other.mergedWindow > report.mergedWindow + 3n)
    );
  });
  await change(world, { ...world.job.reports, [name]: definition });
  return stood === true && (await isLive(world, name)) && mergedAgain(world);
}

export const REPORT_CHANGES = {
  'a report added': added,
  'a report redefined': redefined,
  'a report paused, and going on': paused,
  'a report removed': removed,
};
