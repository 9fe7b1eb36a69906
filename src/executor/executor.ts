/**
 * One executor: what the leader says becomes work, what work yields becomes what the leader is told.
 * Everything here happens in the event loop's turns; the parts that wait are behind it.
 */
import { randomBytes } from 'node:crypto';
import type { ChannelCredentials } from '@grpc/grpc-js';
import {
  AssertionError,
  assertNever,
  systemClock,
  TidemarkError,
  toTidemarkError,
  type Clock,
} from '../base/index.ts';
import type { ServerState } from '../sql/index.ts';
import {
  type AdvanceStates,
  type StatesOutcome,
  type TaskOutcome,
  type TaskProgress,
  type Validate,
} from '../wire/index.ts';
import { AuditDesk, type AuditDeskOptions } from './audit-desk.ts';
import { Catalog } from './catalog.ts';
import {
  checkCollector,
  checkDrop,
  checkFold,
  checkPrepare,
  checkStates,
  checkTask,
} from './check-messages.ts';
import { CollectorHost } from './collector-host.ts';
import { SpanCopies } from './compute/span-copies.ts';
import { Databases, type DatabasesOptions, type GroupWatch } from './databases.ts';
import { PrepareDesk } from './prepare-desk.ts';
import { Housekeeper, type Chore } from './housekeeper.ts';
import { housekeepingSteps } from './housekeeping-steps.ts';
import { LeaderQuestions } from './leader-questions.ts';
import { Outbox, type Outgoing } from './session/outbox.ts';
import type { Incoming, SessionLog } from './session/protocol.ts';
import { SealDesk } from './session/seal-desk.ts';
import { Session } from './session/session.ts';
import { StatesHost, statesName } from './states-host.ts';
import { statesSteps } from './states-steps.ts';
import { SinkDesk } from './sink-desk.ts';
import { TaskRunner } from './task-runner.ts';
import { databaseSteps } from './task-steps.ts';
import { compiledText, validateJob } from './validate-job.ts';

export interface ExecutorParts {
  readonly name: string;
  readonly coordinators: readonly string[];
  readonly channelCredentials: ChannelCredentials;
  readonly slots: number;
  readonly version: string;
  readonly engines: readonly string[];
  readonly databases: DatabasesOptions;
  readonly clock?: Clock;
  readonly log: SessionLog;
  /** Called with every outcome, before the leader is told. */
  readonly onOutcome?: (outcome: TaskOutcome) => void;
  readonly onStates?: (outcome: StatesOutcome) => void;
}

const taskKey = (task: string): string => `task ${task}`;
const choreKey = (token: bigint): string => `chore ${token}`;
const collectorKey = (sourceId: bigint): string => `collector ${sourceId}`;

export class Executor {
  readonly #parts: ExecutorParts;
  readonly #catalog = new Catalog();
  readonly #watch: GroupWatch;
  readonly #databases: Databases;
  readonly #copies: SpanCopies;
  readonly #outbox: Outbox;
  readonly #seals: SealDesk;
  readonly #runner: TaskRunner;
  readonly #states: StatesHost;
  readonly #housekeeper: Housekeeper;
  readonly #questions: LeaderQuestions;
  readonly #sinks: SinkDesk;
  readonly #audits: AuditDesk;
  readonly #host: CollectorHost;
  readonly #session: Session;
  readonly #prepares: PrepareDesk;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    const clock = parts.clock ?? systemClock;
    const { log } = parts;
    const random = Math.random;
    this.#watch = { clock, log };
    this.#databases = new Databases(parts.databases, this.#watch);
    const clusterId = (): string => this.#session.clusterId;
    const steps = { catalog: this.#catalog, databases: this.#databases, clusterId, log };
    this.#copies = new SpanCopies(clock, log);
    this.#outbox = new Outbox(clock);
    this.#seals = new SealDesk(clock, (request) => {
      this.#session.send(request);
    });
    this.#runner = new TaskRunner({
      steps: databaseSteps({ ...steps, copies: this.#copies, clock, random }),
      slots: parts.slots,
      clock,
      random,
      report: (outcome) => {
        this.#onOutcome(outcome);
      },
      log,
    });
    this.#states = new StatesHost({
      steps: statesSteps(steps),
      clock,
      random,
      report: (value) => {
        parts.onStates?.(value);
        this.#tell(statesName(value), { $case: 'states', value });
      },
      log,
    });
    this.#housekeeper = new Housekeeper({
      carryOut: housekeepingSteps({ ...steps, clock, random }),
      report: (value) => {
        this.#tell(choreKey(value.token), { $case: 'housekeeping', value });
      },
      log,
    });
    this.#host = new CollectorHost({
      catalog: this.#catalog,
      databases: this.#databases,
      seals: this.#seals,
      clock,
      log,
      onStopped: (value) => {
        this.#tell(collectorKey(value.sourceId), { $case: 'collectorStopped', value });
      },
    });
    this.#prepares = this.#makePrepareDesk();
    const desk = this.#deskParts(clock);
    this.#questions = desk.questions;
    this.#sinks = new SinkDesk({ ...desk, log });
    this.#audits = new AuditDesk(desk);
    this.#session = this.#makeSession(clock, random);
  }

  /** Begins to look for the leader. */
  start(): void {
    this.#running = this.#session.run(this.#stop.signal);
  }

  /** True while a leader has accepted this executor. */
  get connected(): boolean {
    return this.#session.connected;
  }

  get runningTasks(): number {
    return this.#runner.progress().length;
  }

  get hostedCollectors(): number {
    return this.#host.hosted().length;
  }

  /** The servers of groups with replicas, as this executor sees them. */
  get servers(): ServerState[] {
    return this.#databases.servers();
  }

  /** Says goodbye, ends all work, and closes every connection. */
  async stop(): Promise<void> {
    // Goodbye first: the leader moves the work on, and what is cut off below does not count as failed
    // attempts.
    this.#stop.abort(new TidemarkError('STOPPING', 'the executor is stopping'));
    await this.#running;
    const parts = [this.#host.stopAll(), this.#runner.stop(), this.#states.stop()];
    await Promise.all([...parts, this.#housekeeper.stop(), this.#prepares.stop()]);
    await this.#copies.close();
    await this.#databases.close();
  }

  #makePrepareDesk(): PrepareDesk {
    return new PrepareDesk({
      catalog: this.#catalog,
      databases: this.#databases,
      log: this.#parts.log,
      tell: (value) => {
        this.#tell(choreKey(value.token), { $case: 'prepare', value });
      },
    });
  }

  #deskParts(clock: Clock): AuditDeskOptions {
    const send = (body: Outgoing): void => {
      this.#session.send(body);
    };
    const questions = new LeaderQuestions(clock, send);
    return { catalog: this.#catalog, databases: this.#databases, questions, send };
  }

  #makeSession(clock: Clock, random: () => number): Session {
    const { name, coordinators, channelCredentials, slots, version, engines, log } = this.#parts;
    return new Session({
      coordinators,
      channelCredentials,
      name,
      incarnation: randomBytes(16).toString('hex'),
      slots,
      version,
      engines,
      clock,
      random,
      log,
      handlers: {
        hello: () => ({
          runningTasks: this.#progress().map((task) => String(task.token)),
          collectors: this.#host.hosted(),
        }),
        progress: () => this.#progress(),
        onWelcome: () => {
          for (const body of this.#outbox.all()) this.#session.send(body);
          this.#seals.resend();
          this.#questions.onWelcome();
        },
        onMessage: (message) => {
          this.#onMessage(message);
        },
      },
    });
  }

  #progress(): TaskProgress[] {
    return [...this.#runner.progress(), ...this.#states.progress(), ...this.#housekeeper.progress()];
  }

  #onMessage(message: Incoming): void {
    switch (message.$case) {
      case 'definitions':
        this.#catalog.put(message.value.definitions);
        return;
      case 'dispatch':
        for (const task of message.value.tasks) this.#onDispatch(task);
        return;
      case 'cancel':
        void this.#runner.cancel(message.value.task, message.value.token);
        return;
      case 'advanceStates':
        this.#onStates(message.value);
        return;
      case 'fold':
        checkFold(message.value);
        this.#onChore({ kind: 'fold', order: message.value });
        return;
      case 'dropHistory':
        checkDrop(message.value);
        this.#onChore({ kind: 'drop', order: message.value });
        return;
      case 'cancelChore':
        this.#housekeeper.cancel(message.value.token);
        this.#prepares.cancel(message.value.token);
        return;
      case 'cancelStates':
        this.#states.cancel(message.value);
        return;
      case 'prepare':
        checkPrepare(message.value);
        this.#prepares.dispatch(message.value);
        return;
      case 'startCollector':
        checkCollector(message.value);
        this.#host.start(message.value);
        return;
      case 'stopCollector':
        this.#host.stop(message.value.sourceId, message.value.epoch);
        return;
      case 'reconcile':
        void this.#sinks.reconcile(message.value);
        return;
      case 'probeSink':
        void this.#sinks.probe(message.value);
        return;
      case 'knownTasks':
      case 'sinkReply':
        this.#questions.onAnswer(message.value);
        return;
      case 'auditSink':
        void this.#audits.auditSink(message.value);
        return;
      case 'auditStates':
        void this.#audits.auditStates(message.value);
        return;
      case 'sealReply':
        this.#seals.onReply(message.value);
        return;
      case 'validate':
        void this.#onValidate(message.value);
        return;
      default:
        assertNever(message, 'message to an executor');
    }
  }

  /**
   * A dispatch of a token whose outcome is known already means that the leader has not heard it: it is told
   * again.
   */
  #onDispatch(task: Parameters<TaskRunner['dispatch']>[0]): void {
    checkTask(task);
    const kept = this.#outbox.get(taskKey(task.task));
    if (kept?.$case === 'task' && kept.value.token === task.token) {
      this.#session.send(kept);
      return;
    }
    this.#outbox.drop(taskKey(task.task));
    this.#runner.dispatch(task);
  }

  /** As with tasks: an outcome that is known already is told again. */
  #onStates(order: AdvanceStates): void {
    checkStates(order);
    const kept = this.#outbox.get(statesName(order));
    if (kept?.$case === 'states' && kept.value.token === order.token) {
      this.#session.send(kept);
      return;
    }
    this.#states.dispatch(order);
  }

  /** As with tasks: an outcome that is known already is told again. */
  #onChore(chore: Chore): void {
    const kept = this.#outbox.get(choreKey(chore.order.token));
    if (kept === undefined) this.#housekeeper.dispatch(chore);
    else this.#session.send(kept);
  }

  #onOutcome(outcome: TaskOutcome): void {
    this.#parts.onOutcome?.(outcome);
    this.#tell(taskKey(outcome.task), { $case: 'task', value: outcome });
  }

  /** The answer is for the very leader that asked: it is not kept. */
  async #onValidate({ request, jobYaml, knownSources, knownReports }: Validate): Promise<void> {
    const answer = { request, errorCode: '', errorMessage: '', errorNext: '', compiledJson: '' };
    try {
      const known = {
        sources: knownSources.map((id) => this.#catalog.source(Number(id))),
        reports: knownReports.map((id) => this.#catalog.report(id).report),
      };
      const job = await validateJob(this.#parts.databases, this.#watch, jobYaml, known);
      const compiledJson = compiledText(job);
      this.#session.send({ $case: 'validate', value: { ...answer, compiledJson } });
    } catch (error) {
      const known = coded(error);
      const { code: errorCode, message: errorMessage, next: errorNext = '' } = known;
      this.#session.send({ $case: 'validate', value: { ...answer, errorCode, errorMessage, errorNext } });
    }
  }

  #tell(key: string, body: Parameters<Outbox['put']>[1]): void {
    this.#outbox.put(key, body);
    this.#session.send(body);
  }
}

/** An assertion is never an answer: it goes on to the process's last handler. */
function coded(error: unknown): TidemarkError {
  if (error instanceof AssertionError) throw error;
  return toTidemarkError(error);
}
