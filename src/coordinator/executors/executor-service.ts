/**
 * The executors' side of a coordinator: one stream per executor, served by the leader alone. What executors
 * say becomes an operation (seal), an event for the scheduler (outcomes), or a note in memory (heartbeats).
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, assertNever, failpoint, isErrorCode, mutated } from '../../base/index.ts';
import type { Clock, ErrorCode } from '../../base/index.ts';
import type { Logger } from '../../ops/index.ts';
import type { RaftStatus } from '../../raft/index.ts';
import type { SchedulerEvent } from '../../scheduler/index.ts';
import {
  parseTaskKey,
  taskRowKeyOf,
  type AddSchema,
  type OperationResult,
  type ResealWindow,
  type SealWindow,
  type StateView,
} from '../../statemachine/index.ts';
import { EXECUTOR_FORMAT, TaskResult, guardStream } from '../../wire/index.ts';
import type {
  CollectorStopped,
  ExecutorHeartbeat,
  ExecutorHello,
  FromExecutor,
  HousekeepingOutcome,
  PrepareOutcome,
  GuardedStream,
  SchemaRequest,
  SealRequest,
  TaskOutcome,
  ToExecutor,
} from '../../wire/index.ts';
import { codedOrThrow } from '../coded-error.ts';
import { readCopies } from './copies-message.ts';
import { ExecutorLink, type Send } from './executor-link.ts';
import type { ExecutorLinks } from './executor-links.ts';
import { checkFormat } from '../grpc-server.ts';
import type { Proposer } from '../proposer.ts';
import { safeNumber } from '../safe-number.ts';
import { readSchema } from './schema-request.ts';
import { answerFound, answerKnownTasks } from './sink-answers.ts';
import { readSeal } from './seal-request.ts';

export interface ExecutorServiceOptions {
  readonly clusterId: string;
  readonly status: () => RaftStatus;
  readonly proposer: Proposer;
  readonly view: () => StateView;
  readonly links: ExecutorLinks;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onEvent: (event: SchedulerEvent) => void;
  readonly onOutcome: (outcome: TaskOutcome) => void;
}

type Stream = ServerDuplexStream<FromExecutor, ToExecutor>;

/** Serves one stream of one executor from its first message on. */
export function serveExecutor(options: ExecutorServiceOptions, call: Stream): void {
  let link: ExecutorLink | undefined;
  let greeted = false;
  const stream: GuardedStream<ToExecutor> = guardStream<FromExecutor, ToExecutor>(call, {
    onMessage({ body }) {
      if (body === undefined) throw new TidemarkError('BAD_REQUEST', 'a message without a body');
      if (body.$case === 'hello') {
        if (greeted) throw new TidemarkError('BAD_REQUEST', 'a second hello on one stream');
        greeted = true;
        void greet(options, stream, body.value).then((made) => {
          link = made;
        });
      } else if (link === undefined) {
        throw new TidemarkError('BAD_REQUEST', `${body.$case} before the welcome`);
      } else {
        hear(options, link, body);
      }
    },
    onClosed(error) {
      if (link === undefined) return;
      link.closed();
      const { executorId, name } = link;
      const reason = { code: error?.code, error: error?.message };
      options.log.info({ executor: executorId, name, ...reason }, 'executor stream ended');
      options.onEvent({ type: 'executor-changed', executorId: link.executorId });
    },
  });
}

/** Names where the leader is, or every member's address if there is none just now. */
export function redirect(status: RaftStatus | undefined): Send {
  const members = status?.members ?? [];
  const leader = members.find((member) => member.id === status?.leaderId && member.id !== status.memberId);
  return {
    $case: 'redirect',
    value: {
      clientAddress: leader?.clientAddress ?? '',
      clientAddresses: members.map((member) => member.clientAddress),
    },
  };
}

/** Welcomes the executor, sends it elsewhere, or refuses it; returns the link in the first case. */
async function greet(
  options: ExecutorServiceOptions,
  stream: GuardedStream<ToExecutor>,
  hello: ExecutorHello,
): Promise<ExecutorLink | undefined> {
  try {
    const link = await admitExecutor(options, stream, hello);
    if (link !== undefined) return link;
  } catch (error) {
    const known = codedOrThrow(error);
    if (known.code !== 'NOT_LEADER' && known.code !== 'OUTCOME_UNKNOWN') {
      stream.fail(known);
      return undefined;
    }
  }
  stream.write({ body: redirect(options.status()) });
  stream.end();
  return undefined;
}

/** Registers the executor in the log; undefined if this node does not lead in one term throughout. */
async function admitExecutor(
  options: ExecutorServiceOptions,
  stream: GuardedStream<ToExecutor>,
  hello: ExecutorHello,
): Promise<ExecutorLink | undefined> {
  checkHello(options.clusterId, hello);
  const { term, leading } = options.status();
  // An executor that has obeyed a later leader than this one knows more than this node does.
  if (!leading || hello.leaderTerm > BigInt(term)) return undefined;
  checkName(options, hello);
  const value = await register(options.proposer, hello);
  const now = options.status();
  if (stream.closed) return undefined;
  const leadsStill = now.leading && now.term === term;
  if (!leadsStill && !mutated('coordinator.welcomeWithoutRecheck')) return undefined;
  const link = new ExecutorLink({
    executorId: Number(value['executorId']),
    name: hello.name,
    incarnation: hello.incarnation,
    term,
    stream,
    nowMs: options.clock.monotonicMs(),
    running: hello.runningTasks,
    collecting: hello.collectors.map(({ epoch }) => epoch.toString()),
  });
  welcome(options, link, Number(value['sessionId']));
  return link;
}

function welcome(options: ExecutorServiceOptions, link: ExecutorLink, sessionId: number): void {
  options.links.add(link);
  link.send({
    $case: 'welcome',
    value: {
      format: EXECUTOR_FORMAT,
      clusterId: options.clusterId,
      leaderTerm: BigInt(link.term),
      executorId: BigInt(link.executorId),
      sessionId: BigInt(sessionId),
      heartbeatMs: LIMITS.executorHeartbeatMs,
      sessionMs: LIMITS.executorSessionMs,
    },
  });
  options.log.info({ executor: link.executorId, name: link.name, term: link.term }, 'executor connected');
  options.onEvent({ type: 'executor-changed', executorId: link.executorId });
}

function checkHello(clusterId: string, hello: ExecutorHello): void {
  checkFormat(hello.format, EXECUTOR_FORMAT, "the executor's hello");
  if (hello.clusterId === '' || hello.clusterId === clusterId) return;
  if (mutated('coordinator.foreignExecutorServed')) return;
  throw new TidemarkError(
    'CLUSTER_MISMATCH',
    `executor ${hello.name} works for cluster ${hello.clusterId}, this coordinator for ${clusterId}`,
    { next: 'Start the executor anew, or correct its list of coordinators.' },
  );
}

/**
 * A restarted executor replaces its former self, but never one that lives: the two would end each other for
 * ever.
 */
function checkName(options: ExecutorServiceOptions, hello: ExecutorHello): void {
  const { name, incarnation } = hello;
  const other = options.links.live().find((link) => link.name === name && link.incarnation !== incarnation);
  if (other === undefined || mutated('coordinator.executorNameShared')) return;
  throw new TidemarkError('EXECUTOR_NAME_TAKEN', `an executor named ${name} is connected and lives`, {
    next: 'Give this one another name with --name, or stop the other one.',
  });
}

async function register(
  proposer: Proposer,
  hello: ExecutorHello,
): Promise<Extract<OperationResult, { ok: true }>['value']> {
  const { name, incarnation, slots, version, engines } = hello;
  const [result] = await proposer.propose([
    { type: 'executor.register', v: 1, name, incarnation, slots, version, engines },
  ]);
  if (result === undefined) throw new TidemarkError('INTERNAL', 'the registration was not answered');
  if (!result.ok) throw new TidemarkError(result.code, result.message);
  return result.value;
}

type Heard = Exclude<NonNullable<FromExecutor['body']>, { readonly $case: 'hello' }>;

function hear(options: ExecutorServiceOptions, link: ExecutorLink, body: Heard): void {
  switch (body.$case) {
    case 'heartbeat':
      hearHeartbeat(options, link, body.value);
      return;
    case 'task':
      hearOutcome(options, link, body.value);
      return;
    case 'prepare':
      options.onEvent(prepareOutcome(body.value));
      return;
    case 'states': {
      const { sourceId, shard, token, window, errorCode, errorMessage, lostWindow } = body.value;
      const outcome = {
        sourceId: safeNumber(sourceId, 'source id'),
        shard,
        token: token.toString(),
        window: safeNumber(window, 'window'),
        code: readCode(errorCode),
        message: boundedText(errorMessage),
        lostWindow: lostWindow === 0n ? undefined : safeNumber(lostWindow, 'lost window'),
      };
      options.onEvent({ type: 'states-outcome', ...outcome });
      return;
    }
    case 'housekeeping':
      options.onEvent(housekeepingOutcome(body.value));
      return;
    case 'knownTasks':
    case 'sinkFound':
    case 'sinkFailed':
    case 'sinkProbed':
      hearOfSink(options, link, body);
      return;
    case 'auditFound':
      link.audited(body.value);
      return;
    case 'seal':
      void answer(options, link, body.value, () => readSeal(body.value));
      return;
    case 'schema':
      void answer(options, link, body.value, () => readSchema(body.value, options.links.view()));
      return;
    case 'collectorStopped':
      hearStopped(options, link, body.value);
      return;
    case 'validate':
      link.validated(body.value);
      return;
    case 'goodbye':
      options.onEvent({ type: 'executor-goodbye', executorId: link.executorId });
      return;
    default:
      assertNever(body, 'message of an executor');
  }
}

function prepareOutcome(said: PrepareOutcome): SchedulerEvent {
  return {
    type: 'prepare-outcome',
    sourceId: safeNumber(said.sourceId, 'source id'),
    token: said.token.toString(),
    code: readCode(said.errorCode),
    message: boundedText(said.errorMessage),
    copies: readCopies(said),
  };
}

function hearStopped(options: ExecutorServiceOptions, link: ExecutorLink, said: CollectorStopped): void {
  const { sourceId, epoch, errorCode, errorMessage } = said;
  link.collecting.delete(epoch.toString());
  options.onEvent({
    type: 'collector-stopped',
    sourceId: safeNumber(sourceId, 'source id'),
    epoch: epoch.toString(),
    code: readCode(errorCode),
    message: boundedText(errorMessage),
  });
}

function housekeepingOutcome(said: HousekeepingOutcome): SchedulerEvent {
  return {
    type: 'housekeeping-outcome',
    token: said.token.toString(),
    window: safeNumber(said.window, 'window'),
    code: readCode(said.errorCode),
    message: boundedText(said.errorMessage),
  };
}

type OfSink = Extract<Heard, { $case: 'knownTasks' | 'sinkFound' | 'sinkFailed' | 'sinkProbed' }>;

function hearOfSink(options: ExecutorServiceOptions, link: ExecutorLink, said: OfSink): void {
  if (said.$case === 'knownTasks') {
    answerKnownTasks(options.view(), link, said.value);
    return;
  }
  if (said.$case === 'sinkFound') {
    void answerFound(options.proposer, link, said.value);
    return;
  }
  const { sinkId, epoch, errorCode, errorMessage } = said.value;
  options.onEvent({
    type: said.$case === 'sinkFailed' ? 'sink-failed' : 'sink-doubted',
    sinkId: safeNumber(sinkId, 'sink id'),
    epoch: epoch.toString(),
    code: isErrorCode(errorCode) ? errorCode : 'INTERNAL',
    message: boundedText(errorMessage),
  });
}

/** A heartbeat is answered only while this node leads: the answer keeps the executor's session alive. */
function hearHeartbeat(options: ExecutorServiceOptions, link: ExecutorLink, beat: ExecutorHeartbeat): void {
  const { leading, term } = options.status();
  const leadsStill = leading && term === link.term;
  if (!leadsStill && !mutated('coordinator.heartbeatWithoutLeading')) return;
  link.lastHeartbeatMs = options.clock.monotonicMs();
  link.running = new Set(beat.tasks.map(({ token }) => token.toString()));
  const told = beat.tasks.filter(({ rows }) => rows > 0n);
  link.rows = new Map(told.map(({ token, rows }) => [token.toString(), Number(rows)]));
  link.send({ $case: 'heartbeatReply', value: { sequence: beat.sequence } });
  const view = options.view();
  // Only what this term has begun with is known to be all that was granted before.
  if (view.appliedTerm !== link.term || mutated('coordinator.forgottenTaskRuns')) return;
  for (const { task, token } of beat.tasks) {
    if (isForgotten(view, task)) link.send({ $case: 'cancel', value: { task, token } });
  }
}

/** Tasks of a report that was removed, redefined or built anew: their slots are for others. */
function isForgotten({ tasks }: StateView, key: string): boolean {
  return parseTaskKey(key) !== undefined && tasks.get(taskRowKeyOf(key)) === undefined;
}

function hearOutcome(options: ExecutorServiceOptions, link: ExecutorLink, outcome: TaskOutcome): void {
  const result = RESULTS.get(outcome.result);
  if (result === undefined)
    throw new TidemarkError('BAD_REQUEST', `task outcome ${outcome.result} is not known`);
  options.onOutcome(outcome);
  options.onEvent({
    type: 'task-outcome',
    executorId: link.executorId,
    key: outcome.task,
    version: outcome.version,
    token: outcome.token.toString(),
    result,
    code: readCode(outcome.errorCode),
    message: boundedText(outcome.errorMessage),
    lostWindow: outcome.lostWindow === 0n ? undefined : safeNumber(outcome.lostWindow, 'lost window'),
  });
}

type OutcomeResult = Extract<SchedulerEvent, { type: 'task-outcome' }>['result'];

const RESULTS: ReadonlyMap<TaskResult, OutcomeResult> = new Map<TaskResult, OutcomeResult>([
  [TaskResult.TASK_RESULT_DONE, 'DONE'],
  [TaskResult.TASK_RESULT_FENCED, 'FENCED'],
  [TaskResult.TASK_RESULT_FOLDED, 'FOLDED'],
  [TaskResult.TASK_RESULT_FAILED, 'FAILED'],
  [TaskResult.TASK_RESULT_RETRACTED, 'RETRACTED'],
]);

/** Every request of a collector is answered, also when its outcome is not known: it repeats it then. */
async function answer(
  options: ExecutorServiceOptions,
  link: ExecutorLink,
  request: SealRequest | SchemaRequest,
  read: () => SealWindow | ResealWindow | AddSchema,
): Promise<void> {
  let problem: { readonly code: string; readonly message: string } = { code: '', message: '' };
  try {
    const [result] = await options.proposer.propose([read()]);
    if (result?.ok === false) problem = result;
  } catch (error) {
    problem = codedOrThrow(error);
  }
  await failpoint('coordinator.beforeSealAnswer', { code: problem.code });
  link.send({
    $case: 'sealReply',
    value: {
      request: request.request,
      sourceId: request.sourceId,
      errorCode: problem.code,
      errorMessage: problem.message,
    },
  });
}

/** Reads an error code of an executor; one that this version does not know counts as a mistake of ours. */
function readCode(text: string): ErrorCode | '' {
  if (text === '') return '';
  return isErrorCode(text) ? text : 'INTERNAL';
}

/**
 * What is told goes into the log, where an entry has a bound: a text beyond it would end one leader after the
 * other.
 */
function boundedText(text: string): string {
  return text.length <= LIMITS.errorTextMax ? text : `${text.slice(0, LIMITS.errorTextMax)}...`;
}
