/**
 * The planner: replicated state and observations in, operations and dispatches out. It is a pure function;
 * the loop proposes the operations, and what they grant shows up as dispatches of the next round, when it is
 * committed. So a fresh grant, one that a new leader adopts and one that was lost on its way are one case.
 */
import { planGenerations } from './generations.ts';
import { planHousekeeping } from './housekeeping.ts';
import { judge } from './liveness.ts';
import { planOutcomes } from './outcomes.ts';
import { Round } from './round.ts';
import { planSinks } from './sinks.ts';
import { planSources } from './sources.ts';
import { planStates } from './states.ts';
import { planSpans } from './spans.ts';
import { planDeadTasks, planOpenTasks } from './tasks.ts';
import type { Plan, PlanInput } from './types.ts';

export function plan(input: PlanInput): Plan {
  const judgement = judge(input);
  const round = new Round(input, judgement);
  for (const executor of judgement.expire) {
    if (round.full) break;
    round.operations.push({
      cause: 'executor-expired',
      operation: { type: 'executor.expire', v: 1, executorId: executor.id, reason: 'it was silent' },
    });
  }
  planOutcomes(round);
  planSinks(round);
  planSources(round);
  planGenerations(round);
  planStates(round);
  planOpenTasks(round);
  planDeadTasks(round);
  planSpans(round);
  planHousekeeping(round);
  return {
    operations: round.operations,
    dispatches: round.dispatches,
    waiting: round.waiting,
    stale: round.stale,
    firstMissedMs: judgement.firstMissedMs,
    brakeSinceMs: judgement.brakeSinceMs,
  };
}
