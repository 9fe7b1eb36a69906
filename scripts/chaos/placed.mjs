// How scenarios place a fault in a process, and what they wait for to see that it had its consequence.
import { pause, within } from './timing.mjs';

const HIT_WITHIN_MS = 8_000;
const FAR_WITHIN_MS = 40_000;
export const CONSEQUENCE_WITHIN_MS = 20_000;
export const SESSION_MS = 3_000;

/** Arms a failpoint in a child and waits for its hit. */
export async function placed({ hits }, child, arm) {
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

export async function restart(child, random) {
  await child.exited;
  await pause(random(600));
  child.start();
}

export const sourceNow = async ({ client }) => (await client.listSources())[0];

export async function collectorHost(world) {
  const source = await sourceNow(world);
  const executors = await world.client.listExecutors();
  const host = executors.find(({ executorId }) => executorId === source?.collectorExecutorId);
  const child = world.cluster.executors.find(({ name }) => name === host?.name);
  return child?.running ? { child, epoch: source.collectorEpoch } : undefined;
}

export const epochAbove = (world, epoch) =>
  within(CONSEQUENCE_WITHIN_MS, async () => {
    const source = await sourceNow(world);
    return source !== undefined && source.collectorEpoch > epoch;
  });

/** A window that is sealed after now. */
export async function sealedAgain(world) {
  const before = await sourceNow(world);
  const found = await within(CONSEQUENCE_WITHIN_MS, async () => {
    const source = await sourceNow(world);
    return source !== undefined && source.lastWindow > (before?.lastWindow ?? 0n);
  });
  return found === true;
}

/** A window that was sealed after now is merged for all reports. */
export async function mergedAgain(world) {
  const before = await sourceNow(world);
  const merged = await within(FAR_WITHIN_MS, async () => {
    const source = await sourceNow(world);
    return source !== undefined && source.mergedWindow > before.lastWindow;
  });
  return merged === true;
}

export function anyExecutor({ cluster, random }) {
  const running = cluster.executors.filter((child) => child.running && !child.suspended);
  return running[random(running.length)];
}

export const anyStore = ({ servers, random }) => servers.stores[random(servers.stores.length)];
