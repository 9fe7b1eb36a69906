import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CompiledTopology } from '../../src/job/index.ts';
import { ClientClient, TaskResult, insecureCredentials } from '../../src/wire/index.ts';
import type {
  ApplyReply,
  ApplyRequest,
  OpenSessionReply,
  PrepareOutcome,
  SealRequest,
  Task,
  TaskOutcome,
} from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { TestCluster } from './cluster-harness.ts';
import { COMPILED, FakeExecutor, JOB_YAML } from './fake-executor.ts';

let cluster: TestCluster;
let executors: FakeExecutor[];

beforeEach(() => {
  executors = [];
});

afterEach(() => {
  for (const executor of executors) executor.close();
});

const stop = async (): Promise<void> => {
  await cluster.stop();
  expect(cluster.fatal).toEqual([]);
};

const dial = (position: number): FakeExecutor => {
  const executor = new FakeExecutor(cluster.at(position).clientAddress);
  executors.push(executor);
  return executor;
};

/** Connects to the leader, declares the job, and prepares and snapshots the source as an executor would. */
async function running(): Promise<{ readonly executor: FakeExecutor; readonly epoch: bigint }> {
  const executor = dial(await cluster.leader()).hello();
  await executor.next('welcome');
  const items = await cluster.client().apply(JOB_YAML);
  expect(items.map(({ kind, name, action }) => `${kind} ${name} ${action}`)).toContain(
    'report revenue created',
  );
  const prepare = await executor.next('prepare');
  const outcome: PrepareOutcome = {
    token: prepare.token,
    sourceId: prepare.sourceId,
    errorCode: '',
    errorMessage: '',
    copies: [],
  };
  executor.send({ $case: 'prepare', value: outcome });
  const collector = await executor.next('startCollector');
  expect(collector).toMatchObject({ lastWindow: 0n, position: '' });
  return { executor, epoch: collector.epoch };
}

const sealOf = (window: bigint, epoch: bigint, over: { from?: string; to?: string } = {}): SealRequest => ({
  request: window,
  sourceId: 1n,
  cursor: '',
  again: false,
  errorCode: '',
  errorMessage: '',
  window: {
    window,
    epoch,
    from: window === 1n ? '' : `p${window - 1n}`,
    to: `p${window}`,
    day: '2026-11-21',
    coversMs: 1_000n * window,
    topologyVersion: 1,
    shards: [{ shard: 'store', rows: 5n, checksum: '00000000000000aa' }],
    schemaVersions: [{ table: 'orders', version: 1 }],
    ...over,
  },
});

const doneOf = (task: Task, over: Partial<TaskOutcome> = {}): TaskOutcome => ({
  task: task.task,
  version: task.version,
  token: task.token,
  leaderTerm: task.leaderTerm,
  result: TaskResult.TASK_RESULT_DONE,
  errorCode: '',
  errorMessage: '',
  computeMs: 1,
  mergeMs: 1,
  rowsIn: 5n,
  rowsOut: 1n,
  replaced: false,
  foundDone: false,
  lostWindow: 0n,
  ...over,
});

describe('an executor dials in', () => {
  const SIZE = 3;
  beforeAll(async () => {
    cluster = await TestCluster.formed(SIZE);
  });
  afterAll(stop);

  test('at a follower: it is sent to the leader, which welcomes it', async () => {
    const leader = await cluster.leader();
    const follower = dial((leader + 1) % SIZE).hello();
    const redirect = await follower.next('redirect');
    expect(redirect.clientAddress).toBe(cluster.at(leader).clientAddress);
    expect([...redirect.clientAddresses].sort()).toEqual([...cluster.addresses].sort());
    await eventually(() => follower.closed, { withinMs: 5_000 });

    const { term, clusterId } = cluster.at(leader).status();
    const welcome = await dial(leader).hello().next('welcome');
    expect(welcome).toMatchObject({ clusterId, leaderTerm: term, executorId: 1n });
    expect(await cluster.client().listExecutors()).toMatchObject([{ name: 'fake', state: 'live', slots: 4 }]);
  });

  test('of another cluster: CLUSTER_MISMATCH', async () => {
    const executor = dial(await cluster.leader()).hello({ clusterId: 'ff'.repeat(16) });
    await eventually(() => executor.closed, { withinMs: 5_000 });
    expect(executor.error?.code).toBe('CLUSTER_MISMATCH');
  });

  test('having obeyed a later leader: this one does not use it', async () => {
    const executor = dial(await cluster.leader()).hello({ leaderTerm: 1_000n });
    await executor.next('redirect');
    expect(executor.of('welcome')).toEqual([]);
  });

  test('twice with one incarnation: it keeps its id, and the newer stream wins', async () => {
    const leader = await cluster.leader();
    const older = dial(leader).hello();
    const first = await older.next('welcome');
    const newer = dial(leader).hello();
    const second = await newer.next('welcome');
    expect(second.executorId).toBe(first.executorId);
    await eventually(() => older.closed, { withinMs: 5_000 });
    expect(older.error?.code).toBe('CANCELLED');
    await newer.next('heartbeatReply', 2);
  });

  test('and says something before the hello, or a wrong hello: coded errors', async () => {
    const leader = await cluster.leader();
    const early = dial(leader);
    early.send({ $case: 'heartbeat', value: { sequence: 1n, tasks: [] } });
    const wrong = dial(leader).hello({ slots: 0 });
    const other = dial(leader).hello({ format: 9 });
    await eventually(() => early.closed && wrong.closed && other.closed, { withinMs: 5_000 });
    expect([early, wrong, other].map(({ error }) => error?.code)).toEqual([
      'BAD_REQUEST',
      'BAD_REQUEST',
      'FORMAT_UNKNOWN',
    ]);
  });
});

describe('work, from the job to the merged window, through the real scheduler', () => {
  beforeEach(async () => {
    cluster = await TestCluster.formed(1);
  });
  afterEach(stop);

  test('apply, prepare, collect, seal, grant, done', async () => {
    const { executor, epoch } = await running();
    executor.send({ $case: 'seal', value: sealOf(1n, epoch) });
    expect(await executor.next('sealReply')).toMatchObject({ request: 1n, errorCode: '' });
    const { tasks } = await executor.next('dispatch');
    expect(tasks).toHaveLength(1);
    const [task] = tasks as [Task];
    expect(task).toMatchObject({
      task: '1/1/1/0',
      version: 1,
      parts: 1,
      windows: [{ window: 1n, epoch, to: 'p1' }],
    });

    // Tokens of one family: the term of this leader above, and each grant higher than the one before.
    const { term } = cluster.at(await cluster.leader()).status();
    expect(task.token >> 40n).toBe(term);
    expect(task.token).toBeGreaterThan(epoch);
    expect(epoch).toBeGreaterThan(task.prepared);
    expect(task.prepared).toBeGreaterThan(task.sinkEpoch);

    // Everything that the messages refer to was defined before, once.
    const ids = executor.of('definitions').flatMap(({ definitions }) => definitions.map(({ id }) => id));
    expect([...ids].sort()).toEqual(['report/1/1', 'sink/1', 'source/1', 'topology/1']);
    const kinds = executor.received.map(({ $case }) => $case);
    expect(kinds.indexOf('definitions')).toBeLessThan(kinds.indexOf('prepare'));

    executor.send({ $case: 'task', value: doneOf(task) });
    const client = cluster.client();
    await eventually(async () => (await client.listWindows())[0]?.state === 'FINAL', { withinMs: 5_000 });
    expect(await client.listSources()).toMatchObject([
      {
        name: 'shop',
        state: 'running',
        lastWindow: 1n,
        mergedWindow: 1n,
        collectorEpoch: epoch,
        coversMs: 1_000n,
      },
    ]);
    const [listed] = await client.listTasks();
    expect(listed).toMatchObject({ task: '1/1/1/0', state: 'DONE', token: task.token });
  });

  test('a replica is added under sealed windows: the next task names it, no new grant', async () => {
    const { executor, epoch } = await running();
    executor.send({ $case: 'seal', value: sealOf(1n, epoch) });
    await executor.next('dispatch');
    const replicas = [{ embedded: { file: 'replica.db' } }];
    const shards = COMPILED.topology.shards.map((shard) => ({ ...shard, replicas }));
    executor.compiled = { ...COMPILED, topology: { ...COMPILED.topology, shards } };
    const items = await cluster.client().apply(JOB_YAML);
    expect(items.map(({ kind, action }) => `${kind} ${action}`)).toEqual([
      'store changed',
      'database unchanged',
      'source unchanged',
      'report unchanged',
    ]);
    // The collector goes on under the version that it was granted.
    executor.send({ $case: 'seal', value: sealOf(2n, epoch, { from: 'p1' }) });
    expect(await executor.next('sealReply', 1)).toMatchObject({ request: 2n, errorCode: '' });
    const { tasks } = await executor.next('dispatch', 1);
    expect(tasks[0]).toMatchObject({ topologyVersion: 2, windows: [{ window: 2n, topologyVersion: 1 }] });
    const sent = executor.of('definitions').flatMap(({ definitions }) => definitions);
    const topology = JSON.parse(sent.find(({ id }) => id === 'topology/2')?.json ?? '{}') as CompiledTopology;
    expect([topology.version, topology.shards[0]?.replicas]).toEqual([
      2,
      [{ embedded: { file: 'replica.db' } }],
    ]);
    expect([executor.of('prepare').length, executor.of('startCollector').length]).toEqual([1, 1]);
  });

  test('another window length: the collector is told to stop, and the next one knows', async () => {
    const { executor, epoch } = await running();
    executor.send({ $case: 'seal', value: sealOf(1n, epoch) });
    await executor.next('sealReply');
    const sources = COMPILED.sources.map((source) => ({
      ...source,
      window: { ...source.window, lengthMs: source.window.lengthMs + 1 },
    }));
    executor.compiled = { ...COMPILED, sources };
    await cluster.client().apply(JOB_YAML);
    // What was declared by then goes with the file.
    expect(executor.of('validate').map(({ knownSources }) => knownSources)).toEqual([[], [1n]]);
    expect(await executor.next('stopCollector')).toEqual({ sourceId: 1n, epoch });
    const next = await executor.next('startCollector', 1);
    expect(next).toMatchObject({ lastWindow: 1n, position: 'p1', formerTables: 0 });
    expect(next.epoch).toBeGreaterThan(epoch);
    const sent = executor.of('definitions').flatMap(({ definitions }) => definitions);
    const documents = sent.filter(({ id }) => id === 'source/1').map(({ json }) => json);
    expect(documents).toEqual([COMPILED, executor.compiled].map((job) => JSON.stringify(job.sources[0])));
  });

  test('a seal is answered: the same again is accepted, a gap and a foreign epoch are refused', async () => {
    const { executor, epoch } = await running();
    const seals: readonly SealRequest[] = [
      sealOf(1n, epoch),
      sealOf(1n, epoch),
      sealOf(2n, epoch, { from: 'elsewhere' }),
      sealOf(2n, epoch - 1n),
      { ...sealOf(2n, epoch), window: undefined },
    ];
    for (const [request, value] of seals.entries()) {
      executor.send({ $case: 'seal', value: { ...value, request: BigInt(request) } });
    }
    await executor.next('sealReply', seals.length - 1);
    const replies = executor.of('sealReply').sort((one, other) => Number(one.request - other.request));
    const codes = replies.map(({ errorCode }) => errorCode);
    expect(codes).toEqual(['', '', 'WINDOW_GAP', 'STALE_EPOCH', 'BAD_REQUEST']);
  });

  test('an executor that falls silent is given up; when it speaks again it must register anew', async () => {
    const { executor, epoch } = await running();
    executor.pauseHeartbeats();
    const other = dial(await cluster.leader()).hello({ name: 'other' });
    await other.next('welcome');
    const takenOver = await other.next('startCollector');
    expect(takenOver.epoch).toBeGreaterThan(epoch);
    await eventually(() => executor.closed, { withinMs: 5_000 });
    expect(executor.error?.code).toBe('SESSION_EXPIRED');
  });
});

describe('when the leader stops', () => {
  beforeEach(async () => {
    cluster = await TestCluster.formed(3);
  });
  afterEach(stop);

  test('a new leader adopts the executor and its task under the same token', async () => {
    const { executor, epoch } = await running();
    executor.send({ $case: 'seal', value: sealOf(1n, epoch) });
    const { tasks } = await executor.next('dispatch');
    const [task] = tasks as [Task];
    const first = await cluster.leader();
    await cluster.stopOne(first);
    await eventually(() => executor.closed, { withinMs: 5_000 });

    const second = await cluster.leader();
    const again = dial(second);
    again.running = [{ task: task.task, token: task.token }];
    again.hello({
      clusterId: cluster.at(second).status().clusterId,
      leaderTerm: task.leaderTerm,
      runningTasks: [task.token.toString()],
      collectors: [{ sourceId: 1n, epoch }],
    });
    const welcome = await again.next('welcome');
    expect(welcome.executorId).toBe(1n);
    expect(welcome.leaderTerm).toBeGreaterThan(task.leaderTerm);
    again.send({ $case: 'task', value: doneOf(task) });
    again.send({ $case: 'seal', value: sealOf(2n, epoch) });
    expect(await again.next('sealReply')).toMatchObject({ errorCode: '' });
    const { tasks: next } = await again.next('dispatch');
    expect(next[0]).toMatchObject({ firstWindow: 2n });
    // The token of the new term is above every token of the old one.
    expect(next[0]?.token).toBeGreaterThan(task.token);
    const client = cluster.client();
    await eventually(async () => (await client.listSources())[0]?.mergedWindow === 1n, { withinMs: 5_000 });
  });
});

describe('applying a job', () => {
  beforeAll(async () => {
    cluster = await TestCluster.formed(1);
  });
  afterAll(stop);

  test('without an executor: NO_EXECUTOR', async () => {
    const client = cluster.client({ deadlineMs: 2_000 });
    await expect(client.apply(JOB_YAML)).rejects.toMatchObject({ code: 'NO_EXECUTOR' });
  });

  test('that is no job: the error of the file, before any executor is asked', async () => {
    await expect(cluster.client().apply('version: 2')).rejects.toMatchObject({ code: 'JOB_INVALID' });
  });

  test('a dry run says what it would do and does nothing', async () => {
    const executor = dial(await cluster.leader()).hello();
    await executor.next('welcome');
    const client = cluster.client();
    const planned = await client.apply(JOB_YAML, { dryRun: true });
    expect(planned).toContainEqual(
      expect.objectContaining({ kind: 'report', name: 'revenue', action: 'created' }),
    );
    expect(await client.listReports()).toEqual([]);
    await client.apply(JOB_YAML);
    const again = await client.apply(JOB_YAML);
    expect(new Set(again.map(({ action }) => action))).toEqual(new Set(['unchanged']));
  });

  test('twice under one session and sequence: the first answer again', async () => {
    const executor = dial(await cluster.leader()).hello();
    await executor.next('welcome');
    const raw = new ClientClient(cluster.at(0).clientAddress, insecureCredentials().client.channel);
    const { sessionId } = await new Promise<OpenSessionReply>((resolve, reject) => {
      raw.openSession({ name: 'by hand' }, (error, reply) => {
        if (error === null) resolve(reply);
        else reject(error);
      });
    });
    const apply = (body: ApplyRequest): Promise<ApplyReply> =>
      new Promise((resolve, reject) => {
        raw.apply(body, (error, reply) => {
          if (error === null) resolve(reply);
          else reject(error);
        });
      });
    executor.compiled = {
      ...COMPILED,
      reports: COMPILED.reports.map((report) => ({ ...report, sql: `${report.sql} WHERE o.id > 0` })),
    };
    const request = { sessionId, sequence: 1n, jobYaml: JOB_YAML, dryRun: false };
    const first = await apply(request);
    // The repetition needs no executor and no job: the log has the answer.
    executor.close();
    const again = await apply({ ...request, jobYaml: '' });
    raw.close();
    expect(again).toEqual(first);
    expect(first.items).toContainEqual(expect.objectContaining({ kind: 'report', action: 'changed' }));
  });
});
