/**
 * Turns records of the replicated state into the messages that executors get, and names what they refer to.
 */
import { must, parseToken } from '../../base/index.ts';
import { copiesOf } from './copies-message.ts';
import type { CompiledTopology, DeclaredTopology } from '../../job/index.ts';
import { idKey, isPrepared, openPrepare, windowKey } from '../../statemachine/index.ts';
import type {
  ShardStates,
  SourceRecord,
  StateView,
  TaskRecord,
  TopologyRecord,
  WindowRecord,
} from '../../statemachine/index.ts';
import { PrepareStep, reportDefinition, TaskKind } from '../../wire/index.ts';
import type {
  AdvanceStates,
  Definition,
  FormerChain,
  Prepare,
  SealedWindow,
  StartCollector,
  Task,
} from '../../wire/index.ts';

/** A message together with the documents that the executor must know to understand it. */
export interface Work<Message> {
  readonly message: Message;
  readonly definitions: readonly Definition[];
}

export interface WorkContext {
  readonly view: StateView;
  readonly leaderTerm: number;
  readonly clusterId: string;
  /** Milliseconds that the present try of a task may take. */
  readonly taskTimeMs: (task: TaskRecord) => number;
}

/** What the message holds. */
const TIME_MAX_MS = 2 ** 32 - 1;

/**
 * Makes a dispatch of a task; undefined when the state no longer holds what the task refers to (then the
 * planner sees that too, and nothing may be dispatched).
 */
export function taskWork(
  context: WorkContext,
  task: TaskRecord,
  superseded: readonly string[],
): Work<Task> | undefined {
  const { view } = context;
  const report = view.reports.get(idKey(task.reportId));
  const source = view.sources.get(idKey(task.sourceId));
  const sink = view.sinks.get(idKey(task.sinkId));
  // A first contribution is computed from the row states as of its last window (design 6.6): that one is
  // enough.
  const { lastWindow } = task;
  const firstWindow = lastWindow === report?.baseWindow ? lastWindow : task.firstWindow;
  const windows = sealedWindows(view, { sourceId: task.sourceId, firstWindow, lastWindow });
  if (report === undefined || source === undefined || !isPrepared(view, report)) return undefined;
  if (sink === undefined || windows === undefined) return undefined;
  if (report.generation !== task.generation) return undefined;
  const message: Task = {
    task: task.key,
    reportId: BigInt(task.reportId),
    generation: BigInt(task.generation),
    sourceId: BigInt(task.sourceId),
    firstWindow: BigInt(task.firstWindow),
    lastWindow: BigInt(task.lastWindow),
    part: task.part,
    parts: report.parts,
    version: task.version,
    token: parseToken(task.token),
    leaderTerm: BigInt(context.leaderTerm),
    sinkId: BigInt(task.sinkId),
    sinkEpoch: parseToken(task.sinkEpoch),
    kind: task.purpose === 'merge' ? TaskKind.TASK_KIND_MERGE : TaskKind.TASK_KIND_RETRACT,
    windows: windows.map(sealedWindow),
    deadlineMs: Math.min(context.taskTimeMs(task), TIME_MAX_MS),
    superseded: superseded.map(parseToken),
    prepared: parseToken(report.prepared),
    // Where its shards answer now: a newer version differs from the sealed one in replicas only.
    topologyVersion: must(view.topology, 'the topology of a task').version,
    reason: task.purpose === 'merge' ? '' : task.reason,
    formerChains: formerChains(source),
  };
  const definitions = [
    ...topologyDefinition(view),
    { id: `source/${source.id}`, json: source.spec },
    ...replacedSchemas(source, windows),
    { id: `sink/${sink.id}`, json: sink.spec },
    { id: reportDefinition(report.id, report.generation), json: report.spec },
  ];
  return { message, definitions };
}

/**
 * Makes the message that lets an executor prepare tables; undefined without a current grant or sink epoch.
 */
export function prepareWork(context: WorkContext, source: SourceRecord): Work<Prepare> | undefined {
  const { view } = context;
  const sink = view.sinks.get(idKey(source.sinkId));
  const epoch = sink?.epoch ?? undefined;
  const prepare = openPrepare(source);
  if (prepare === null || sink === undefined || epoch === undefined) return undefined;
  const { addition } = source;
  const ofAddition = source.prepare?.done === true && addition !== null;
  // Those that were added since are prepared, and shown, under grants of their own.
  const reports = [...view.reports.values()].filter(
    (report) => report.sourceId === source.id && report.phase === 'live' && !ofAddition,
  );
  const ids = reports.map((report) => reportDefinition(report.id, report.generation));
  const message: Prepare = {
    token: parseToken(prepare.token),
    leaderTerm: BigInt(context.leaderTerm),
    sourceId: BigInt(source.id),
    sinkId: BigInt(sink.id),
    sinkEpoch: parseToken(epoch),
    clusterId: context.clusterId,
    reports: ids,
    step: ofAddition ? PrepareStep.PREPARE_STEP_TABLES : PrepareStep.PREPARE_STEP_ALL,
    ...copiesOf(view, source),
    superseded: prepare.superseded.map(parseToken),
  };
  const definitions = [
    ...topologyDefinition(view),
    ofAddition
      ? { id: `addition/${source.id}`, json: addition.spec }
      : { id: `source/${source.id}`, json: source.spec },
    { id: `sink/${sink.id}`, json: sink.spec },
    ...reports.map((report, position) => ({ id: must(ids[position], 'id'), json: report.spec })),
  ];
  return { message, definitions };
}

/** Makes the message that starts a collector; undefined without a current grant. */
export function collectorWork(context: WorkContext, source: SourceRecord): Work<StartCollector> | undefined {
  const { view } = context;
  if (source.collector === null || view.topology === undefined) return undefined;
  const message: StartCollector = {
    sourceId: BigInt(source.id),
    epoch: parseToken(source.collector.epoch),
    leaderTerm: BigInt(context.leaderTerm),
    lastWindow: BigInt(source.lastWindow),
    position: source.position,
    cursor: source.cursor,
    resnapshot: source.resnapshot,
    formerTables: source.formerTables,
    topologyVersion: view.topology.version,
    lost: lostWindows(view, source).map(sealedWindow),
    formerChains: formerChains(source),
  };
  const definitions = [...topologyDefinition(view), { id: `source/${source.id}`, json: source.spec }];
  return { message, definitions };
}

function formerChains(source: SourceRecord): FormerChain[] {
  return source.formerChains.map(({ below, lastWindow, holed }) => ({
    below: parseToken(below),
    lastWindow: BigInt(lastWindow),
    holed,
  }));
}

function lostWindows(view: StateView, source: SourceRecord): WindowRecord[] {
  return source.lost.flatMap(({ window, problem }) => {
    const sealed = problem === '' ? view.windows.get(windowKey(source.id, window)) : undefined;
    return sealed === undefined ? [] : [sealed];
  });
}

/** Makes the message that lets an executor advance row states; undefined without a current grant. */
export function statesWork(
  context: WorkContext,
  source: SourceRecord,
  states: ShardStates,
): Work<AdvanceStates> | undefined {
  const { view } = context;
  const { grant, shard } = states;
  if (grant === null || view.topology === undefined) return undefined;
  const windows = sealedWindows(view, { sourceId: source.id, ...grant });
  if (windows === undefined) return undefined;
  const message: AdvanceStates = {
    sourceId: BigInt(source.id),
    shard,
    token: parseToken(grant.token),
    leaderTerm: BigInt(context.leaderTerm),
    topologyVersion: view.topology.version,
    windows: windows.map(sealedWindow),
    superseded: states.superseded.map(parseToken),
    formerChains: formerChains(source),
  };
  const definitions = [
    ...topologyDefinition(view),
    { id: `source/${source.id}`, json: source.spec },
    ...replacedSchemas(source, windows),
  ];
  return { message, definitions };
}

/** The captured tables under those versions that the windows name and the source has replaced. */
function replacedSchemas(source: SourceRecord, windows: readonly WindowRecord[]): Definition[] {
  return source.schemas
    .filter((schema) =>
      windows.some(({ schemaVersions }) =>
        schemaVersions.some(({ table, version }) => table === schema.table && version === schema.version),
      ),
    )
    .map(({ table, version, spec }) => ({ id: `schema/${source.id}/${table}/${version}`, json: spec }));
}

const topologies = new WeakMap<TopologyRecord, Definition>();

/** It is asked for with every task, and made once. */
export function topologyDefinition({ topology }: StateView): Definition[] {
  if (topology === undefined) return [];
  const known = topologies.get(topology);
  if (known !== undefined) return [known];
  const { version, spec } = topology;
  const document: CompiledTopology = { ...(JSON.parse(spec) as DeclaredTopology), version };
  const definition = { id: `topology/${version}`, json: JSON.stringify(document) };
  topologies.set(topology, definition);
  return [definition];
}

function sealedWindows(
  view: StateView,
  task: Pick<TaskRecord, 'sourceId' | 'firstWindow' | 'lastWindow'>,
): WindowRecord[] | undefined {
  const windows: WindowRecord[] = [];
  for (let number = task.firstWindow; number <= task.lastWindow; number += 1) {
    const window = view.windows.get(windowKey(task.sourceId, number));
    if (window === undefined) return undefined;
    windows.push(window);
  }
  return windows;
}

function sealedWindow(window: WindowRecord): SealedWindow {
  return {
    window: BigInt(window.window),
    epoch: parseToken(window.epoch),
    from: window.from,
    to: window.to,
    day: window.day,
    coversMs: BigInt(window.coversMs),
    topologyVersion: window.topologyVersion,
    shards: window.shards.map(({ shard, rows, checksum }) => ({ shard, rows: BigInt(rows), checksum })),
    schemaVersions: window.schemaVersions.map(({ table, version }) => ({ table, version })),
  };
}
