// Faults at the edges of the work: a process is killed, held, or fails, just before or after what counts.
import {
  anyExecutor,
  collectorHost,
  CONSEQUENCE_WITHIN_MS,
  epochAbove,
  mergedAgain,
  placed,
  restart,
  sealedAgain,
  SESSION_MS,
  sourceNow,
} from './placed.mjs';
import { pause, within } from './timing.mjs';

/** A session, and the time that its successor needs on a busy machine. */
const SUCCEEDED_WITHIN_MS = 25_000;
const MINUTE_MS = 60_000;

/** Something happens at a place of the collector. */
const collectorAt = (name, action) => async (world) => {
  const host = await collectorHost(world);
  if (host === undefined) return false;
  const hit = await placed(world, host.child, { name, action });
  if (hit === undefined) return false;
  if (action === 'kill') {
    await restart(host.child, world.random);
    const taken = (await epochAbove(world, host.epoch)) === true;
    if (taken) world.events.collectorTakenOver(name, hit.detail);
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
const taskAt = (name, action, match) => async (world) => {
  const child = anyExecutor(world);
  if (child === undefined) return false;
  const hit = await placed(world, child, { name, action, match });
  if (hit === undefined) return false;
  if (action === 'kill') await restart(child, world.random);
  if (action === 'pause') {
    await pause(world.random(2_000));
    child.send({ testBuild: 'release', name });
  }
  return sealedAgain(world);
};

/**
 * An executor is stopped at a place and sleeps past its session, `leastMs` at least, until another has merged
 * what it held; it wakes and goes on with it.
 */
const stoppedAt =
  (name, match, leastMs = 0) =>
  async (world) => {
    const { records, client } = world;
    const child = anyExecutor(world);
    if (child === undefined) return false;
    const hit = await placed(world, child, { name, action: 'pause', match });
    if (hit === undefined) return false;
    const { token } = hit.detail;
    const assigned = await client.listTasks({ state: 'ASSIGNED', limit: 500 });
    const task = assigned.find((one) => String(one.token) === token)?.task;
    child.suspend();
    const longEnough = pause(leastMs);
    const succeeded =
      task !== undefined && (await within(SUCCEEDED_WITHIN_MS, () => isAbove(world, task, token)));
    await longEnough;
    const mark = records.mark;
    child.send({ testBuild: 'release', name });
    child.resume();
    const ended = await records.after(mark, ({ record }) => record.token === token, CONSEQUENCE_WITHIN_MS);
    if (succeeded === true && ended?.record.result === 'DONE') {
      world.problems.push(`token ${token} of ${task} merged although a later version had`);
    }
    return succeeded === true && ended !== undefined && sealedAgain(world);
  };

/** Whether a later version of the task has merged. */
async function isAbove({ servers }, task, token) {
  const [report, generation, window, part] = task.split('/');
  const [{ n }] = await servers.reports.primary.query(
    `SELECT COUNT(*) AS n FROM chaos.tm_ledger WHERE report_id = ? AND generation = ? AND first_window = ?
     AND part = ? AND applied > ?`,
    [report, generation, window, part, token],
  );
  return Number(n) > 0;
}

/** It dies where it is held: what was assigned then was so when it died. */
const leaderKilledAt = (name, match) => async (world) => {
  const { cluster, client } = world;
  const child = await cluster.leader();
  const hit = await placed(world, child, {
    name,
    action: 'pause',
    ...(match === undefined ? {} : { match }),
  });
  if (hit === undefined) return false;
  // Who gets no answer has seen none in flight.
  const assigned = await client.listTasks({ state: 'ASSIGNED', limit: 500 }).then(
    (tasks) => tasks.length,
    () => 0,
  );
  child.kill();
  await cluster.doors.untilCommitted(performance.now(), CONSEQUENCE_WITHIN_MS);
  const next = await cluster.leader();
  await restart(child, world.random);
  if (next !== child) world.events.leaderChanged(assigned);
  return next !== child;
};

/** The leader stands still between a grant and its dispatch; what it sends then still counts. */
const leaderHeldAt = (name, match) => async (world) => {
  const child = await world.cluster.leader();
  const hit = await placed(world, child, {
    name,
    action: 'pause',
    ...(match === undefined ? {} : { match }),
  });
  if (hit === undefined) return false;
  await pause(world.random(4_000));
  child.send({ testBuild: 'release', name });
  return mergedAgain(world);
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

/**
 * Two collectors alive: the first is stopped past its session just before it seals, and wakes beside its
 * successor: its seal must be refused.
 */
async function twoCollectors(world) {
  const host = await collectorHost(world);
  if (host === undefined) return false;
  const name = 'collector.beforeSeal';
  const hit = await placed(world, host.child, { name, action: 'pause' });
  if (hit === undefined) return false;
  host.child.suspend();
  const taken = await epochAbove(world, host.epoch);
  const { mark } = world.records;
  host.child.resume();
  host.child.send({ testBuild: 'release', name });
  const refused = await world.records.after(mark, isRefusalOf(host), CONSEQUENCE_WITHIN_MS);
  return taken === true && refused !== undefined && sealedAgain(world);
}

const isRefusalOf =
  ({ child, epoch }) =>
  (item) =>
    item.child === child && item.record.epoch === String(epoch) && item.record.code === 'STALE_EPOCH';

/** It dies when it has read a part of a transaction of two tables, some of it stored already. */
async function killedInsideTransaction(world) {
  const host = await collectorHost(world);
  if (host === undefined) return false;
  const arm = { name: 'collector.afterRead', action: 'kill', match: { inside: 'true' } };
  const hitting = placed(world, host.child, arm);
  await world.load.large(world.largeRows);
  const hit = await hitting;
  if (hit === undefined) return false;
  await restart(host.child, world.random);
  const taken = (await epochAbove(world, host.epoch)) === true;
  if (taken) world.events.collectorTakenOver(arm.name, hit.detail);
  return taken && mergedAgain(world);
}

/** The leader ends when sending what it granted fails: the grant is committed, and the next one sends it. */
async function leaderFailsAtAssignment(world) {
  const { cluster, failing } = world;
  const child = await cluster.leader();
  const name = 'scheduler.afterGrantBeforeDispatch';
  failing.add(child);
  const hit = await placed(world, child, { name, action: 'error', match: { kind: 'task' } });
  if (hit === undefined) {
    failing.delete(child);
    return false;
  }
  await child.exited;
  await cluster.doors.untilCommitted(performance.now(), CONSEQUENCE_WITHIN_MS);
  const next = await cluster.leader();
  child.start();
  return next !== child && mergedAgain(world);
}

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
    const source = await sourceNow(world);
    return source?.states.every(({ window }) => window >= BigInt(hit.detail.window));
  });
  return passed === true && sealedAgain(world);
};

/** What every edge of a process's work gets. */
const each = (edges, fault) =>
  Object.fromEntries(
    Object.entries(edges).flatMap(([name, [what, actions]]) =>
      actions.map((action) => [what.replace('...', WORDS[action]), fault(name, action)]),
    ),
  );
const WORDS = { kill: 'killed', pause: 'held', error: 'fails' };
const ALL = ['kill', 'pause', 'error'];
/** Reports of class affectedKeys. */
const OF_CELLS = { merges: 'cells' };

export const EDGES = {
  ...each(
    {
      'collector.afterRead': ['collector ... after reading', ALL],
      'collector.beforeStoreCommit': ['collector ... before its COMMIT', ALL],
      'collector.beforeMark': ['collector ... before its mark', ALL],
      'collector.beforeSeal': ['collector ... before its seal', ALL],
      'collector.afterSeal': ['collector ... after its seal', ALL],
    },
    collectorAt,
  ),
  'two collectors alive, the deposed one refused': twoCollectors,
  'collector killed inside a transaction of two tables': killedInsideTransaction,
  ...each(
    {
      'executor.beforeCompute': ['executor ... before computing', ALL],
      'executor.afterCompute': ['executor ... after computing', ALL],
      'executor.beforeMergeCommit': ['executor ... inside the merge transaction', ['kill', 'error']],
      'executor.atMergeCommit': ['executor ... before the COMMIT of a merge', ALL],
      'executor.afterCommitBeforeReport': ['executor ... between commit and report', ['pause', 'error']],
    },
    taskAt,
  ),
  'executor killed between commit and report': killedBeforeReport,
  'executor stopped between compute and merge': stoppedAt('executor.afterCompute'),
  'executor stopped inside the merge transaction': stoppedAt('executor.beforeMergeCommit'),
  'executor stopped for a minute inside the merge transaction': stoppedAt(
    'executor.beforeMergeCommit',
    undefined,
    MINUTE_MS,
  ),
  'executor killed inside a merge of cells': taskAt('executor.beforeMergeCommit', 'kill', OF_CELLS),
  'executor stopped inside a merge of cells': stoppedAt('executor.beforeMergeCommit', OF_CELLS),
  'leader killed between grant and dispatch': leaderKilledAt('scheduler.afterGrantBeforeDispatch', {
    kind: 'task',
  }),
  'leader fails between grant and dispatch': leaderFailsAtAssignment,
  'leader held between grant and dispatch': leaderHeldAt('scheduler.afterGrantBeforeDispatch', {
    kind: 'task',
  }),
  'leader killed between a seal and its answer': leaderKilledAt('coordinator.beforeSealAnswer', { code: '' }),
  'leader killed before it commits what was merged': leaderKilledAt('scheduler.beforeFinish'),
  'leader killed after it committed what was merged': leaderKilledAt('scheduler.afterFinish'),
  'leader held before it commits what was merged': leaderHeldAt('scheduler.beforeFinish'),
  'leader killed during a merge': leaderKilledDuringMerge,
  'executor killed inside the advance of row states': statesAt('kill'),
  'executor fails inside the advance of row states': statesAt('error'),
  'executor stopped inside the advance of row states': statesAt('pause'),
};
