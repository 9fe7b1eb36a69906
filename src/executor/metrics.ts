/** What an executor counts. Gauges are read when they are scraped. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ServerState } from '../sql/index.ts';
import { TaskResult, type TaskOutcome } from '../wire/index.ts';
import { resultName } from './result-name.ts';

/** What gauges look at. */
export interface ExecutorReading {
  readonly connected: boolean;
  readonly runningTasks: number;
  readonly hostedCollectors: number;
  readonly servers: readonly ServerState[];
}

export interface ExecutorMetrics {
  readonly onOutcome: (outcome: TaskOutcome) => void;
}

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createExecutorMetrics(registry: Registry, reading: () => ExecutorReading): ExecutorMetrics {
  const registers = [registry];
  gauge(
    registry,
    'tidemark_executor_connected',
    '1 while a leader has accepted this executor, else 0.',
    () => (reading().connected ? 1 : 0),
  );
  gauge(
    registry,
    'tidemark_executor_tasks',
    'Tasks that it holds, waiting ones included.',
    () => reading().runningTasks,
  );
  gauge(
    registry,
    'tidemark_executor_collectors',
    'Collectors that it hosts.',
    () => reading().hostedCollectors,
  );
  serverGauges(registry, () => reading().servers);
  const outcomes = new Counter({
    name: 'tidemark_executor_task_outcomes_total',
    help: 'Tasks that ended here, by result and error code.',
    labelNames: ['result', 'code'],
    registers,
  });
  const replaced = new Counter({
    name: 'tidemark_executor_contributions_replaced_total',
    help: 'Merges that replaced an earlier contribution of the same task.',
    registers,
  });
  const foundDone = new Counter({
    name: 'tidemark_executor_found_done_total',
    help: 'Merges that found their own token in the ledger already.',
    registers,
  });
  const phases = new Histogram({
    name: 'tidemark_executor_task_seconds',
    help: 'Time of a task by phase: compute, merge.',
    labelNames: ['phase'],
    buckets: SECONDS,
    registers,
  });
  return {
    onOutcome(outcome) {
      const result = resultName(outcome.result).toLowerCase();
      outcomes.inc({ result, code: outcome.errorCode });
      if (outcome.replaced) replaced.inc();
      if (outcome.foundDone) foundDone.inc();
      if (outcome.result !== TaskResult.TASK_RESULT_DONE) return;
      phases.observe({ phase: 'compute' }, outcome.computeMs / 1_000);
      phases.observe({ phase: 'merge' }, outcome.mergeMs / 1_000);
    },
  };
}

function gauge(registry: Registry, name: string, help: string, read: () => number): void {
  const made = new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      made.set(read());
    },
  });
}

/** Servers of groups with replicas; what else there is to know of a database its own metrics tell. */
function serverGauges(registry: Registry, servers: () => readonly ServerState[]): void {
  const registers = [registry];
  const roles = new Gauge({
    name: 'tidemark_sql_server',
    help: 'Servers of groups with replicas, by the role that they were last found in and their breaker: 1.',
    labelNames: ['server', 'role', 'breaker'],
    registers,
    collect() {
      roles.reset();
      for (const { server, role, breaker } of servers()) roles.set({ server, role, breaker }, 1);
    },
  });
  const lag = new Gauge({
    name: 'tidemark_sql_server_lag_seconds',
    help: 'How far a replica was behind when it was last asked; +Inf when it does not follow.',
    labelNames: ['server'],
    registers,
    collect() {
      lag.reset();
      for (const { server, lagMs } of servers()) if (lagMs !== undefined) lag.set({ server }, lagMs / 1_000);
    },
  });
  const inFlight = new Gauge({
    name: 'tidemark_sql_server_in_flight',
    help: 'Connections of this executor that work on a server of a group with replicas.',
    labelNames: ['server'],
    registers,
    collect() {
      inFlight.reset();
      for (const state of servers()) inFlight.set({ server: state.server }, state.inFlight);
    },
  });
}
