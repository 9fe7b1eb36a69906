/** The one fault of a plain `dev`: after the third window the leader is killed, and everyone can watch. */
import { sleep, systemClock } from '../base/index.ts';
import type { LocalCluster } from './cluster.ts';
import type { Screen } from './window-watch.ts';

const WRITES_RESUME_WITHIN_MS = 30_000;
const DOWN_MS = 2_000;

/**
 * Kills the leader (kill -9), waits until a change is committed again, restarts it. Returns the
 * milliseconds.
 */
export async function killLeaderOnce(cluster: LocalCluster, screen: Screen): Promise<number> {
  const leader = await cluster.leader();
  leader.kill();
  const killedMs = systemClock.monotonicMs();
  screen.line(`>>> kill -9 of ${leader.name}, which leads. Nothing is lost; watch the windows go on.`);
  const resumedMs = Math.round(await cluster.doors.untilCommitted(killedMs, WRITES_RESUME_WITHIN_MS));
  const next = await cluster.leader();
  screen.line(`>>> ${next.name} leads now; writes resumed after ${resumedMs} ms.`);
  await leader.exited;
  await sleep(systemClock, DOWN_MS);
  leader.start();
  screen.line(`>>> ${leader.name} is started again and follows.`);
  return resumedMs;
}
