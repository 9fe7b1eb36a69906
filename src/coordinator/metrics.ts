/** What a coordinator counts. Gauges are read from the node when they are scraped; nothing is kept twice. */
import { Counter, Gauge, type Registry } from 'prom-client';
import { TaskResult, type TaskOutcome } from '../wire/index.ts';
import type { ClusterNode } from './cluster-node.ts';

export interface CoordinatorMetrics {
  readonly registry: Registry;
  /** Counts the outcome of a task as an executor told it to this node as the leader. */
  readonly onOutcome: (outcome: TaskOutcome) => void;
}

interface Reading {
  readonly name: string;
  readonly help: string;
  readonly read: (node: ClusterNode) => number;
}

const RAFT: readonly Reading[] = [
  {
    name: 'tidemark_raft_leading',
    help: '1 on the leader that has proved itself, else 0.',
    read: ({ raft }) => (raft.status().leading ? 1 : 0),
  },
  { name: 'tidemark_raft_term', help: 'The present term.', read: ({ raft }) => raft.status().term },
  {
    name: 'tidemark_raft_leader_id',
    help: 'The leader as this member knows it; 0 if none.',
    read: ({ raft }) => raft.status().leaderId ?? 0,
  },
  {
    name: 'tidemark_raft_commit_index',
    help: 'Last entry known to be committed.',
    read: ({ raft }) => raft.status().commitIndex,
  },
  {
    name: 'tidemark_raft_applied_index',
    help: 'Last entry applied.',
    read: ({ view }) => view().appliedIndex,
  },
  {
    name: 'tidemark_raft_last_index',
    help: 'Last entry in the log.',
    read: ({ raft }) => raft.status().lastIndex,
  },
  {
    name: 'tidemark_raft_leader_contact_seconds',
    help: 'Time since the leader was heard; 0 on the leader.',
    read: ({ raft }) => (raft.status().leaderContactMs ?? 0) / 1_000,
  },
  {
    name: 'tidemark_raft_snapshots_in_a_row',
    help: 'Most snapshots sent to one follower that never caught up; an alarm from 3 on; 0 unless it leads.',
    read: ({ raft }) => Math.max(0, ...raft.status().followers.map(({ snapshots }) => snapshots)),
  },
  {
    name: 'tidemark_log_time_seconds',
    help: 'Log time: the sum of monotonic time under all leaders.',
    read: ({ view }) => view().cluster.logTimeMs / 1_000,
  },
];

const STATE: readonly Reading[] = [
  {
    name: 'tidemark_state_differs',
    help: '1 while the states of members differ, as far as this member knows, else 0.',
    read: ({ verdict }) => (verdict().kind === 'equal' ? 0 : 1),
  },
  {
    name: 'tidemark_scrub_age_seconds',
    help: 'Time since log and state were last found whole while running; -1 before the first time.',
    read: ({ scrubAgeMs }) => (scrubAgeMs() ?? -1_000) / 1_000,
  },
  { name: 'tidemark_executors', help: 'Registered executors.', read: ({ view }) => view().executors.size },
  {
    name: 'tidemark_executors_connected',
    help: 'Executors with a stream to this member; 0 unless it leads.',
    read: ({ links }) => links.connected().length,
  },
  {
    name: 'tidemark_windows_sealed',
    help: 'Windows sealed so far, over all sources.',
    read: ({ view }) => sum(view().sources.values(), (source) => source.lastWindow),
  },
  {
    name: 'tidemark_windows_merged',
    help: 'Windows up to which all are merged, summed over all sources.',
    read: ({ view }) => sum(view().sources.values(), (source) => source.mergedWindow),
  },
];

/** Puts the metrics of a coordinator into a registry. `node` is undefined until it belongs to a cluster. */
export function createCoordinatorMetrics(
  registry: Registry,
  node: () => ClusterNode | undefined,
): CoordinatorMetrics {
  for (const reading of [...RAFT, ...STATE]) addGauge(registry, reading, node);
  addRole(registry, node);
  addStatesLag(registry, node);
  addWriteTimes(registry, node);
  addCounters(registry, node);
  const outcomes = new Counter({
    name: 'tidemark_task_outcomes_total',
    help: 'Outcomes of tasks as executors told them to this member.',
    labelNames: ['result'],
    registers: [registry],
  });
  const replaced = new Counter({
    name: 'tidemark_task_replaced_total',
    help: 'Merges that replaced what an earlier version of the task had added.',
    registers: [registry],
  });
  const foundDone = new Counter({
    name: 'tidemark_task_found_done_total',
    help: 'Merges that the ledger already held under the same token.',
    registers: [registry],
  });
  const names = new Map<TaskResult, string>(Object.entries(RESULT_NAMES).map(([key, value]) => [value, key]));
  return {
    registry,
    onOutcome: (outcome) => {
      outcomes.inc({ result: names.get(outcome.result) ?? 'unknown' });
      if (outcome.replaced) replaced.inc();
      if (outcome.foundDone) foundDone.inc();
    },
  };
}

const RESULT_NAMES = {
  done: TaskResult.TASK_RESULT_DONE,
  fenced: TaskResult.TASK_RESULT_FENCED,
  folded: TaskResult.TASK_RESULT_FOLDED,
  failed: TaskResult.TASK_RESULT_FAILED,
  retracted: TaskResult.TASK_RESULT_RETRACTED,
} as const;

function addGauge(registry: Registry, reading: Reading, node: () => ClusterNode | undefined): void {
  const gauge: Gauge = new Gauge({
    name: reading.name,
    help: reading.help,
    registers: [registry],
    collect: () => {
      const running = node();
      if (running !== undefined) gauge.set(reading.read(running));
    },
  });
}

const ROLES = ['follower', 'pre-candidate', 'candidate', 'leader'] as const;

function addRole(registry: Registry, node: () => ClusterNode | undefined): void {
  const gauge = new Gauge({
    name: 'tidemark_raft_role',
    help: '1 for the present role of this member, 0 for the others.',
    labelNames: ['raft_role'],
    registers: [registry],
    collect: () => {
      const role = node()?.raft.status().role;
      for (const name of ROLES) gauge.set({ raft_role: name }, name === role ? 1 : 0);
    },
  });
}

function addStatesLag(registry: Registry, node: () => ClusterNode | undefined): void {
  const gauge = new Gauge({
    name: 'tidemark_states_lag_windows',
    help: 'Sealed windows that the row states of a source on a store shard do not hold yet.',
    labelNames: ['source', 'shard'],
    registers: [registry],
    collect: () => {
      gauge.reset();
      for (const { name: source, lastWindow, states } of node()?.view().sources.values() ?? []) {
        for (const { shard, window } of states ?? []) gauge.set({ source, shard }, lastWindow - window);
      }
    },
  });
}

function addWriteTimes(registry: Registry, node: () => ClusterNode | undefined): void {
  const gauge = new Gauge({
    name: 'tidemark_raft_write_seconds',
    help: 'Time of the last 512 synced writes of the log, by quantile.',
    labelNames: ['quantile'],
    registers: [registry],
    collect: () => {
      const times = node()?.raft.writeTimes();
      if (times === undefined) return;
      gauge.set({ quantile: '0.5' }, times.p50Ms / 1_000);
      gauge.set({ quantile: '0.99' }, times.p99Ms / 1_000);
    },
  });
}

/** Counters that the parts keep themselves; they begin at 0 with the process, as Prometheus expects. */
function addCounters(registry: Registry, node: () => ClusterNode | undefined): void {
  addKeptCounter(registry, {
    name: 'tidemark_proposals_total',
    help: 'What this member proposed as the leader: entries, operations in them, and changes that failed.',
    label: 'kind',
    read: () => Object.entries(node()?.proposer.counters ?? {}),
  });
  addKeptCounter(registry, {
    name: 'tidemark_scheduler_total',
    help: 'What the scheduler of this member has done as the leader, by event.',
    label: 'event',
    read: () => Object.entries(node()?.scheduler.counters ?? {}),
  });
  addKeptCounter(registry, {
    name: 'tidemark_raft_leader_changes_total',
    help: 'Leader changes that this member has seen.',
    label: undefined,
    read: () => [['', node()?.leaderChanges() ?? 0]],
  });
}

function addKeptCounter(
  registry: Registry,
  kept: {
    readonly name: string;
    readonly help: string;
    readonly label: string | undefined;
    readonly read: () => readonly (readonly [string, number])[];
  },
): void {
  const { name, help, label } = kept;
  const counter: Counter = new Counter({
    name,
    help,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect: () => {
      counter.reset();
      for (const [key, value] of kept.read()) counter.inc(label === undefined ? {} : { [label]: key }, value);
    },
  });
}

function sum<T>(rows: Iterable<T>, value: (row: T) => number): number {
  let total = 0;
  for (const row of rows) total += value(row);
  return total;
}
