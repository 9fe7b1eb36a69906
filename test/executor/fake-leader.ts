/** A leader as an executor sees it: a real gRPC server on loopback whose answers a test decides. */
import { Server } from '@grpc/grpc-js';
import {
  ExecutorService,
  guardStream,
  insecureCredentials,
  type ExecutorHello,
  type FromExecutor,
  type GuardedStream,
  type ToExecutor,
} from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';

type Said = NonNullable<FromExecutor['body']>;
type Case = Said['$case'];
type Body<C extends Case> = Extract<Said, { $case: C }>['value'];
export type Say = NonNullable<ToExecutor['body']>;

export const CLUSTER = 'c'.repeat(32);

export interface FakeLeaderOptions {
  /** What is answered to a hello. @default a welcome under the leader's term */
  readonly greet?: (hello: ExecutorHello) => Say;
  /** Whether heartbeats are answered. */
  answersHeartbeats?: boolean;
  readonly leaderTerm?: bigint;
  readonly clusterId?: string;
  readonly heartbeatMs?: number;
  readonly sessionMs?: number;
}

export class FakeLeader {
  readonly heard: Said[] = [];
  readonly options: FakeLeaderOptions;
  address = '';
  readonly #server = new Server();
  readonly #streams: GuardedStream<ToExecutor>[] = [];

  private constructor(options: FakeLeaderOptions) {
    this.options = options;
  }

  static async start(options: FakeLeaderOptions = {}, port = 0): Promise<FakeLeader> {
    const leader = new FakeLeader(options);
    leader.#server.addService(ExecutorService, {
      connect: (call: Parameters<typeof guardStream>[0]) => {
        leader.#serve(call);
      },
    });
    const bound = await new Promise<number>((resolve, reject) => {
      leader.#server.bindAsync(`127.0.0.1:${port}`, insecureCredentials().client.server, (error, found) => {
        if (error === null) resolve(found);
        else reject(error);
      });
    });
    leader.address = `127.0.0.1:${bound}`;
    return leader;
  }

  get openStreams(): number {
    return this.#streams.filter((stream) => !stream.closed).length;
  }

  /** Says something on the newest stream. */
  say(body: Say): void {
    this.#streams.at(-1)?.write({ body });
  }

  /** Breaks the newest stream without a word. */
  drop(): void {
    this.#streams.at(-1)?.fail(new Error('dropped by the test'));
  }

  /** Everything heard of one kind, oldest first. */
  all<C extends Case>(kind: C): Body<C>[] {
    return this.heard.filter((said) => said.$case === kind).map((said) => said.value as Body<C>);
  }

  /** Waits for the `count`-th message of a kind that satisfies `test`. */
  async hears<C extends Case>(
    kind: C,
    test: (value: Body<C>) => boolean = () => true,
    count = 1,
  ): Promise<Body<C>> {
    const heard = await eventually(
      () => {
        const value = this.all(kind).filter(test)[count - 1];
        if (value === undefined) throw new Error(`heard ${this.heard.map((said) => said.$case).join(' ')}`);
        return { value };
      },
      { withinMs: 10_000, everyMs: 5, what: `a ${kind}` },
    );
    return heard.value;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  /** It knows no task of any report database, and takes what is found there. */
  #answerSink(stream: GuardedStream<ToExecutor>, body: Said): void {
    const done = { errorCode: '', errorMessage: '' };
    if (body.$case === 'knownTasks') {
      const value = { ...done, request: body.value.request, tasks: [], nextWindow: 0n };
      stream.write({ body: { $case: 'knownTasks', value } });
    }
    if (body.$case === 'sinkFound') {
      stream.write({ body: { $case: 'sinkReply', value: { ...done, request: body.value.request } } });
    }
  }

  #serve(call: Parameters<typeof guardStream>[0]): void {
    const stream = guardStream<FromExecutor, ToExecutor>(call, {
      onMessage: ({ body }) => {
        if (body === undefined) return;
        this.heard.push(body);
        this.#answerSink(stream, body);
        if (body.$case === 'hello') stream.write({ body: this.#greeting(body.value) });
        if (body.$case === 'heartbeat' && this.options.answersHeartbeats !== false) {
          stream.write({ body: { $case: 'heartbeatReply', value: { sequence: body.value.sequence } } });
        }
      },
      onClosed: () => undefined,
    });
    this.#streams.push(stream);
  }

  #greeting(hello: ExecutorHello): Say {
    if (this.options.greet !== undefined) return this.options.greet(hello);
    const value = {
      format: 1,
      clusterId: this.options.clusterId ?? CLUSTER,
      leaderTerm: this.options.leaderTerm ?? 3n,
      executorId: 1n,
      sessionId: 1n,
      heartbeatMs: this.options.heartbeatMs ?? 20,
      sessionMs: this.options.sessionMs ?? 1_000,
    };
    return { $case: 'welcome', value };
  }
}
