/** Who lives, who is suspect, whose session has expired, and when not to act on it (design section 7). */
import { mutated } from '../../base/index.ts';
import type { ExecutorRecord } from '../../statemachine/index.ts';
import type { PlanInput } from './types.ts';

export type Liveness = 'live' | 'suspect' | 'expired';

/**
 * More than this many, and more than this share, vanishing together look like a fault of the leader's own
 * network.
 */
const BRAKE_COUNT = 3;
const BRAKE_SHARE = 0.3;

export interface Judgement {
  /** By executor id; only registered executors are in it. */
  readonly liveness: ReadonlyMap<number, Liveness>;
  /** Executors to expire now. */
  readonly expire: readonly ExecutorRecord[];
  readonly firstMissedMs: ReadonlyMap<number, number>;
  readonly brakeSinceMs: number | undefined;
}

export function judge(input: PlanInput): Judgement {
  const { view, memory, config, now } = input;
  const liveness = new Map<number, Liveness>();
  const firstMissedMs = new Map<number, number>();
  const expired: ExecutorRecord[] = [];
  let silent = 0;
  for (const executor of view.executors.values()) {
    const seen = input.executors.get(executor.id);
    if (seen === undefined) {
      firstMissedMs.set(executor.id, memory.firstMissedMs.get(executor.id) ?? now.monotonicMs);
    }
    // A new leader judges nobody before it could have heard from everybody for one session.
    const heardMs = seen?.lastHeartbeatMs ?? firstMissedMs.get(executor.id) ?? now.monotonicMs;
    const sinceMs = mutated('scheduler.judgesAtOnce') ? heardMs : Math.max(heardMs, memory.leaderSinceMs);
    const silenceMs = now.monotonicMs - sinceMs;
    if (silenceMs >= config.suspectMs) silent += 1;
    if (silenceMs >= config.sessionMs) {
      liveness.set(executor.id, 'expired');
      expired.push(executor);
    } else {
      const live = seen?.connected === true && now.monotonicMs - heardMs < config.suspectMs;
      liveness.set(executor.id, live ? 'live' : 'suspect');
    }
  }
  const brakeSinceMs = brake(input, silent);
  const held = brakeSinceMs !== undefined && now.monotonicMs - brakeSinceMs < config.sessionMs;
  return { liveness, expire: held ? [] : expired, firstMissedMs, brakeSinceMs };
}

/**
 * Pulls the brake when too many are silent at once; it holds reassignment for one more session, then lets go.
 */
function brake(input: PlanInput, silent: number): number | undefined {
  const limit = Math.max(BRAKE_COUNT, input.view.executors.size * BRAKE_SHARE);
  if (silent <= limit || mutated('scheduler.noBrake')) return undefined;
  return input.memory.brakeSinceMs ?? input.now.monotonicMs;
}
