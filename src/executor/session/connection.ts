/**
 * One stream to one coordinator, from hello to its end. It ends by itself when the leader falls silent,
 * when it turns out to be of another cluster, or when its term is below one that this executor has obeyed
 * before.
 */
import { assertNever, must, TidemarkError, type Cancel } from '../../base/index.ts';
import {
  CHANNEL_OPTIONS,
  ExecutorClient,
  EXECUTOR_FORMAT,
  guardStream,
  type ExecutorWelcome,
  type FromExecutor,
  type GuardedStream,
  type Redirect,
  type ToExecutor,
} from '../../wire/index.ts';
import type { Outgoing } from './outbox.ts';
import { HELLO_TIMEOUT_MS, type ClusterKnowledge, type Incoming, type SessionOptions } from './protocol.ts';

export type ConnectionEnd =
  | { readonly type: 'redirect'; readonly redirect: Redirect }
  | { readonly type: 'closed'; readonly error: TidemarkError | undefined };

export interface ConnectionHandlers {
  onWelcome(welcome: ExecutorWelcome): void;
}

export class Connection {
  /** Resolves once, when the stream is over and its channel closed. */
  readonly ended: Promise<ConnectionEnd>;
  readonly #options: SessionOptions;
  readonly #known: ClusterKnowledge;
  readonly #handlers: ConnectionHandlers;
  readonly #client: ExecutorClient;
  readonly #stream: GuardedStream<FromExecutor>;
  readonly #resolve: (end: ConnectionEnd) => void;
  #welcome: ExecutorWelcome | undefined;
  #sequence = 0n;
  #answeredAtMs: number;
  #timer: Cancel;
  #over = false;

  constructor(
    address: string,
    options: SessionOptions,
    known: ClusterKnowledge,
    handlers: ConnectionHandlers,
  ) {
    this.#options = options;
    this.#known = known;
    this.#handlers = handlers;
    let resolveEnded: ((end: ConnectionEnd) => void) | undefined;
    this.ended = new Promise((resolve) => {
      resolveEnded = resolve;
    });
    this.#resolve = must(resolveEnded, 'the resolver of a promise');
    this.#answeredAtMs = options.clock.monotonicMs();
    this.#client = new ExecutorClient(address, options.channelCredentials, CHANNEL_OPTIONS);
    this.#stream = guardStream<ToExecutor, FromExecutor>(this.#client.connect(), {
      onMessage: (message) => {
        this.#onMessage(message);
      },
      onClosed: (error) => {
        this.#end({ type: 'closed', error });
      },
    });
    this.#timer = options.clock.after(HELLO_TIMEOUT_MS, () => {
      this.#fail(new TidemarkError('NO_LEADER', 'the coordinator did not answer the hello'));
    });
    this.#sendHello();
  }

  get welcomed(): boolean {
    return this.#welcome !== undefined && !this.#over;
  }

  send(body: Outgoing): void {
    if (this.welcomed) this.#stream.write({ body });
  }

  /** Says goodbye, so that the leader gives this executor's work to others at once, and ends the stream. */
  goodbye(): void {
    this.send({ $case: 'goodbye', value: {} });
    this.#stream.end();
    this.#end({ type: 'closed', error: undefined });
  }

  #sendHello(): void {
    const { name, incarnation, slots, version, engines, handlers } = this.#options;
    const value = {
      format: EXECUTOR_FORMAT,
      name,
      incarnation,
      slots,
      version,
      engines: [...engines],
      clusterId: this.#known.clusterId,
      leaderTerm: this.#known.leaderTerm,
      ...handlers.hello(),
    };
    this.#stream.write({ body: { $case: 'hello', value } });
  }

  #onMessage(message: ToExecutor): void {
    if (this.#over || message.body === undefined) return;
    const { body } = message;
    switch (body.$case) {
      case 'welcome':
        this.#onWelcome(body.value);
        return;
      case 'redirect':
        this.#stream.end();
        this.#end({ type: 'redirect', redirect: body.value });
        return;
      case 'heartbeatReply':
        this.#answeredAtMs = this.#options.clock.monotonicMs();
        return;
      case 'definitions':
      case 'dispatch':
      case 'cancel':
      case 'advanceStates':
      case 'fold':
      case 'dropHistory':
      case 'cancelChore':
      case 'cancelStates':
      case 'prepare':
      case 'startCollector':
      case 'stopCollector':
      case 'sealReply':
      case 'reconcile':
      case 'knownTasks':
      case 'sinkReply':
      case 'probeSink':
      case 'auditSink':
      case 'auditStates':
      case 'validate':
        this.#pass(body);
        return;
      default:
        assertNever(body, 'message to an executor');
    }
  }

  #onWelcome(welcome: ExecutorWelcome): void {
    const refusal = refusalOf(welcome, this.#known);
    if (refusal !== undefined) {
      this.#fail(refusal);
      return;
    }
    this.#known.clusterId = welcome.clusterId;
    this.#known.leaderTerm = welcome.leaderTerm;
    this.#welcome = welcome;
    this.#answeredAtMs = this.#options.clock.monotonicMs();
    this.#timer();
    this.#beat(welcome);
    this.#handlers.onWelcome(welcome);
  }

  #pass(body: Incoming): void {
    if (this.#welcome === undefined) {
      this.#fail(new TidemarkError('BAD_REQUEST', `${body.$case} before the welcome`));
      return;
    }
    const term = leaderTermOf(body);
    if (term !== undefined && term < this.#known.leaderTerm) {
      this.#fail(new TidemarkError('STALE_TERM', `term ${term} after ${this.#known.leaderTerm}`));
      return;
    }
    if (term !== undefined) this.#known.leaderTerm = term;
    this.#options.handlers.onMessage(body);
  }

  /** Sends a heartbeat and plans the next; a leader that has not answered for a session's length is left. */
  #beat(welcome: ExecutorWelcome): void {
    const silentMs = this.#options.clock.monotonicMs() - this.#answeredAtMs;
    if (silentMs > welcome.sessionMs) {
      this.#fail(new TidemarkError('NO_LEADER', `no heartbeat was answered for ${Math.round(silentMs)} ms`));
      return;
    }
    this.#sequence += 1n;
    const value = { sequence: this.#sequence, tasks: this.#options.handlers.progress() };
    this.send({ $case: 'heartbeat', value });
    this.#timer = this.#options.clock.after(welcome.heartbeatMs, () => {
      this.#beat(welcome);
    });
  }

  #fail(error: TidemarkError): void {
    this.#stream.fail(error);
    this.#end({ type: 'closed', error });
  }

  #end(end: ConnectionEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer();
    this.#client.close();
    this.#resolve(end);
  }
}

/** Leader terms are compared per cluster (design section 5): a deposed leader must not be obeyed. */
function refusalOf(welcome: ExecutorWelcome, known: ClusterKnowledge): TidemarkError | undefined {
  if (welcome.format !== EXECUTOR_FORMAT) {
    return new TidemarkError('FORMAT_UNKNOWN', `the leader speaks executor format ${welcome.format}`);
  }
  if (known.clusterId !== '' && welcome.clusterId !== known.clusterId) {
    return new TidemarkError('CLUSTER_MISMATCH', `the coordinator belongs to cluster ${welcome.clusterId}`, {
      next: `This executor belongs to cluster ${known.clusterId}; restart it to join another.`,
    });
  }
  if (welcome.leaderTerm < known.leaderTerm) {
    return new TidemarkError('STALE_TERM', `term ${welcome.leaderTerm} after ${known.leaderTerm}`);
  }
  return undefined;
}

function leaderTermOf(body: Incoming): bigint | undefined {
  switch (body.$case) {
    case 'prepare':
    case 'startCollector':
    case 'reconcile':
    case 'probeSink':
      return body.value.leaderTerm;
    case 'dispatch':
      return body.value.tasks.reduce<bigint | undefined>(
        (least, task) => (least === undefined || task.leaderTerm < least ? task.leaderTerm : least),
        undefined,
      );
    default:
      return undefined;
  }
}
