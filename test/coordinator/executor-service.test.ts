import { EventEmitter } from 'node:events';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { beforeEach, describe, expect, test } from 'vitest';
import { LIMITS, clusterId, logIndex, memberId, must, term, type Clock } from '../../src/base/index.ts';
import { ExecutorLinks } from '../../src/coordinator/executors/executor-links.ts';
import { serveExecutor } from '../../src/coordinator/executors/executor-service.ts';
import type { Proposer } from '../../src/coordinator/proposer.ts';
import { createLogger } from '../../src/ops/index.ts';
import type { RaftStatus } from '../../src/raft/index.ts';
import type { SchedulerEvent } from '../../src/scheduler/index.ts';
import { MemoryState, type OperationResult } from '../../src/statemachine/index.ts';
import { ExecutorHello, type FromExecutor, type ToExecutor } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { runningWorld } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { membershipOf } from '../raft/support/membership.ts';

const CLUSTER = clusterId('00'.repeat(16));

/** The server's end of a stream, without a network. */
class StreamEnd extends EventEmitter {
  readonly written: ToExecutor[] = [];
  readonly writableLength = 0;
  readonly destroyed = false;
  ended = false;

  write(message: ToExecutor): boolean {
    this.written.push(message);
    return true;
  }

  end(): void {
    this.ended = true;
  }

  kinds(): string[] {
    return this.written.map(({ body }) => body?.$case ?? '');
  }
}

const clock: Clock = { monotonicMs: () => nowMs, wallMs: () => 0, after: () => () => undefined };
let leading: boolean;
let present: number;
let registered: (() => void) | undefined;
let events: SchedulerEvent[];
let links: ExecutorLinks;
let state: MemoryState;
let nowMs: number;

beforeEach(() => {
  reset();
});

function reset(): void {
  leading = true;
  present = 5;
  registered = undefined;
  events = [];
  nowMs = 1_000;
  state = new MemoryState();
  const log = createLogger({ role: 'test', level: 'silent' });
  links = new ExecutorLinks({
    view: () => new MemoryState(),
    clusterId: CLUSTER,
    clock,
    taskTimeMs: () => 10_000,
    log,
  });
}

function status(): RaftStatus {
  return {
    clusterId: CLUSTER,
    memberId: memberId(1),
    role: leading ? 'leader' : 'follower',
    term: term(present),
    leaderId: memberId(leading ? 1 : 2),
    leading,
    commitIndex: logIndex(1),
    appliedIndex: logIndex(1),
    lastIndex: logIndex(1),
    ...membershipOf([1, 2]),
    leaderContactMs: 0,
  };
}

/** Answers every registration as executor 7, after the test's own step if it has set one. */
const proposer: Proposer = {
  counters: { entries: 0, operations: 0, failed: 0 },
  propose: () => {
    registered?.();
    const result: OperationResult = { ok: true, value: { executorId: 7, sessionId: 9, replaced: 0 } };
    return Promise.resolve([result]);
  },
};

function serve(): StreamEnd {
  const stream = new StreamEnd();
  const log = createLogger({ role: 'test', level: 'silent' });
  serveExecutor(
    {
      clusterId: CLUSTER,
      status,
      proposer,
      links,
      view: () => state,
      clock,
      log,
      onEvent: (event) => events.push(event),
      onOutcome: () => undefined,
    },
    stream as unknown as ServerDuplexStream<FromExecutor, ToExecutor>,
  );
  return stream;
}

const say = (stream: StreamEnd, body: FromExecutor['body']): void => {
  stream.emit('data', { body });
};

const hello = (over: Partial<ExecutorHello> = {}): FromExecutor['body'] => ({
  $case: 'hello',
  value: ExecutorHello.create({ format: 1, name: 'e', incarnation: 'i', slots: 1, ...over }),
});

const heartbeat = (sequence: bigint): FromExecutor['body'] => ({
  $case: 'heartbeat',
  value: { sequence, tasks: [{ task: '1/1/1/0', token: 2n ** 62n + 1n, phase: 'computing', rows: 7n }] },
});

async function welcomed(): Promise<StreamEnd> {
  const stream = serve();
  say(stream, hello());
  await eventually(() => stream.written.length > 0, { withinMs: 1_000 });
  expect(stream.kinds()).toEqual(['welcome']);
  return stream;
}

describe('a leader on a stream', () => {
  rule(
    'coordinator.welcomeWithoutRecheck',
    'welcomes no one after its term ended under the registration',
    async () => {
      reset();
      registered = () => {
        present += 1;
      };
      const stream = serve();
      say(stream, hello());
      await eventually(() => stream.written.length > 0, { withinMs: 1_000 });
      expect(stream.kinds()).toEqual(['redirect']);
      expect(stream.ended).toBe(true);
      expect(links.connected()).toEqual([]);
    },
  );

  rule(
    'coordinator.heartbeatWithoutLeading',
    'answers heartbeats only while it leads in that term',
    async () => {
      reset();
      const stream = await welcomed();
      say(stream, heartbeat(1n));
      expect(stream.kinds()).toEqual(['welcome', 'heartbeatReply']);
      leading = false;
      say(stream, heartbeat(2n));
      leading = true;
      present += 1;
      say(stream, heartbeat(3n));
      expect(stream.kinds()).toEqual(['welcome', 'heartbeatReply']);
    },
  );

  rule(
    'coordinator.foreignExecutorServed',
    'refuses an executor that works for another cluster',
    async () => {
      reset();
      const stream = serve();
      let refused: unknown;
      stream.on('error', (error: unknown) => {
        refused = error;
      });
      say(stream, hello({ clusterId: 'ff'.repeat(16) }));
      await eventually(() => refused !== undefined || stream.written.length > 0, { withinMs: 1_000 });
      expect(refused).toMatchObject({ code: 9 });
      expect(stream.written).toEqual([]);
    },
  );

  rule(
    'coordinator.executorNameShared',
    'refuses a second executor of a name while the first lives, and takes it when that one is silent',
    async () => {
      reset();
      await welcomed();
      const second = serve();
      let refused: unknown;
      second.on('error', (error: unknown) => {
        refused = error;
      });
      say(second, hello({ incarnation: 'other' }));
      await eventually(() => refused !== undefined || second.written.length > 0, { withinMs: 1_000 });
      expect(refused).toMatchObject({ code: 6 });
      expect(links.get(7)?.connected).toBe(true);

      nowMs += LIMITS.executorSuspectMs + 1;
      const third = serve();
      say(third, hello({ incarnation: 'other' }));
      await eventually(() => third.written.length > 0, { withinMs: 1_000 });
      expect(third.kinds()).toEqual(['welcome']);
    },
  );

  test('cuts off error texts, which go into the log', async () => {
    const stream = await welcomed();
    const told = {
      sourceId: 1n,
      token: 1n,
      errorCode: 'DB_FAILED',
      errorMessage: 'x'.repeat(2 * 1024 * 1024),
    };
    say(stream, { $case: 'prepare', value: { ...told, copies: [] } });
    const { message } = events.at(-1) as Extract<SchedulerEvent, { type: 'prepare-outcome' }>;
    expect(message).toHaveLength(LIMITS.errorTextMax + 3);
  });

  test('notes heartbeats and what runs, with exact tokens, in memory alone', async () => {
    const stream = await welcomed();
    nowMs += 400;
    say(stream, heartbeat(1n));
    const observation = must(links.observe().get(7), 'observation');
    expect(observation).toMatchObject({ connected: true, connectedSinceMs: 1_000, lastHeartbeatMs: 1_400 });
    expect(links.live()).toHaveLength(1);
    expect([...observation.running]).toEqual([(2n ** 62n + 1n).toString()]);
    stream.emit('cancelled');
    expect(links.observe().get(7)).toMatchObject({ connected: false, running: new Set() });
    expect(events.map(({ type }) => type)).toEqual(['executor-changed', 'executor-changed']);
  });

  rule('coordinator.forgottenTaskRuns', 'is told to stop tasks that the log has forgotten', async () => {
    reset();
    const world = runningWorld();
    world.seal();
    const { key, token } = world.grant({ window: 1, executorId: 1 });
    ({ state } = world);
    const stream = await welcomed();
    const running = [key, '9/1/1/0', '1/store', 'fold 1'];
    const tasks = running.map((task) => ({ task, token: BigInt(token), phase: 'computing', rows: 0n }));
    const stopped = (sequence: bigint): (string | undefined)[] => {
      say(stream, { $case: 'heartbeat', value: { sequence, tasks } });
      return stream.written.flatMap(({ body }) => (body?.$case === 'cancel' ? [body.value.task] : []));
    };
    // What a leader before this one has granted may not be applied yet.
    expect(stopped(1n)).toEqual([]);
    state.appliedTerm = present;
    expect(stopped(2n)).toEqual(['9/1/1/0']);
  });

  test('that is silent too long is not asked to check a job', async () => {
    await welcomed();
    nowMs += LIMITS.executorSuspectMs + 1;
    expect([links.connected().length, links.live().length]).toEqual([1, 0]);
  });

  test('settles a validation that waits on a stream that ends', async () => {
    const stream = await welcomed();
    const validation = must(links.get(7), 'link').validate(
      'job',
      { definitions: [], sources: [], reports: [] },
      10_000,
    );
    expect(stream.kinds()).toContain('validate');
    stream.emit('end');
    expect(await validation).toBeUndefined();
  });

  test('ends the stream on a message that has no place there', async () => {
    for (const bodies of [[heartbeat(1n)], [hello(), hello()], [undefined]] as const) {
      const stream = serve();
      let refused: unknown;
      stream.on('error', (error: unknown) => {
        refused = error;
      });
      for (const body of bodies) say(stream, body);
      await eventually(() => refused !== undefined, { withinMs: 1_000 });
      expect(refused).toMatchObject({ code: 3 });
    }
  });
});
