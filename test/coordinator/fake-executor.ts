/** An executor that does no work: it speaks the protocol over real gRPC, and the test decides the rest. */
import { JOB_FORMAT, type CompiledJob } from '../../src/job/index.ts';
import { CHANNEL_OPTIONS, ExecutorClient, guardStream, insecureCredentials } from '../../src/wire/index.ts';
import type {
  ExecutorHello,
  FromExecutor,
  GuardedStream,
  Reconcile,
  ToExecutor,
} from '../../src/wire/index.ts';
import type { TidemarkError } from '../../src/base/index.ts';
import { eventually } from '../support/eventually.ts';

type Body = NonNullable<ToExecutor['body']>;
type Case = Body['$case'];
type ValueOf<C extends Case> = Extract<Body, { $case: C }>['value'];

const HEARTBEAT_MS = 200;

export class FakeExecutor {
  readonly received: Body[] = [];
  closed = false;
  /** What it makes of every job file that it is asked to check. */
  compiled: CompiledJob = COMPILED;
  error: TidemarkError | undefined;
  reconciles = true;
  /** Tokens that its heartbeats say it works on. */
  running: { task: string; token: bigint }[] = [];
  readonly #client: ExecutorClient;
  readonly #stream: GuardedStream<FromExecutor>;
  #timer: NodeJS.Timeout | undefined;
  #sequence = 0n;

  constructor(address: string) {
    this.#client = new ExecutorClient(address, insecureCredentials().client.channel, CHANNEL_OPTIONS);
    this.#stream = guardStream<ToExecutor, FromExecutor>(this.#client.connect(), {
      onMessage: ({ body }) => {
        if (body === undefined) return;
        this.received.push(body);
        if (body.$case === 'welcome') this.#startHeartbeats();
        // A job is compiled without databases: the answer is what the test would have compiled.
        // Its report databases are whatever the leader takes them for, unless the test says otherwise.
        if (body.$case === 'reconcile' && this.reconciles) this.#reconciled(body.value);
        if (body.$case === 'validate') this.#validated(body.value.request);
      },
      onClosed: (error) => {
        this.closed = true;
        this.error = error;
        clearInterval(this.#timer);
      },
    });
  }

  hello(over: Partial<ExecutorHello> = {}): this {
    this.send({
      $case: 'hello',
      value: {
        format: 1,
        name: 'fake',
        incarnation: 'first',
        slots: 4,
        version: 'test',
        engines: ['embedded'],
        clusterId: '',
        leaderTerm: 0n,
        runningTasks: [],
        collectors: [],
        ...over,
      },
    });
    return this;
  }

  #reconciled({ known, epoch }: Reconcile): void {
    const sinkId = known?.sinkId ?? 0n;
    const value = { request: 1n, sinkId, epoch, lacking: [], missing: [], folds: [], last: true };
    this.send({ $case: 'sinkFound', value });
  }

  send(body: NonNullable<FromExecutor['body']>): void {
    this.#stream.write({ body });
  }

  of<C extends Case>(kind: C): ValueOf<C>[] {
    return this.received.flatMap((body) => (body.$case === kind ? [body.value as ValueOf<C>] : []));
  }

  /** Waits for the next message of a kind after the first `skip` of them. */
  async next<C extends Case>(kind: C, skip = 0): Promise<ValueOf<C>> {
    const look = (): { readonly value: ValueOf<C> } => {
      const value = this.of(kind)[skip];
      if (value !== undefined) return { value };
      const seen = this.received.map(({ $case }) => $case).join(' ');
      throw new Error(`got ${seen}${this.error === undefined ? '' : `, then ${this.error.message}`}`);
    };
    const found: { readonly value: ValueOf<C> } = await eventually(look, {
      withinMs: 10_000,
      what: `${kind} ${skip}`,
    });
    return found.value;
  }

  pauseHeartbeats(): void {
    clearInterval(this.#timer);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stream.end();
    this.#client.close();
  }

  #startHeartbeats(): void {
    this.#timer = setInterval(() => {
      this.#sequence += 1n;
      const tasks = this.running.map(({ task, token }) => ({ task, token, phase: 'computing', rows: 0n }));
      this.send({ $case: 'heartbeat', value: { sequence: this.#sequence, tasks } });
    }, HEARTBEAT_MS);
  }

  #validated(request: bigint): void {
    this.send({
      $case: 'validate',
      value: {
        request,
        errorCode: '',
        errorMessage: '',
        errorNext: '',
        compiledJson: JSON.stringify(this.compiled),
      },
    });
  }
}

export const JOB_YAML = `
version: 1
job: shop
sources:
  shop: { embedded: { file: shop.db }, tables: [orders] }
stores:
  store: { embedded: { file: store.db } }
databases:
  reports: { embedded: { file: reports.db } }
reports:
  revenue:
    inputs: { o: { changes: orders } }
    keys: { merchant: BIGINT }
    measures: { orders: { kind: count } }
    sql: SELECT o.merchant AS merchant, 1 AS orders, o._w AS _w FROM o
`;

export const COMPILED: CompiledJob = {
  format: JOB_FORMAT,
  name: 'shop',
  topology: {
    format: JOB_FORMAT,
    shards: [
      {
        name: 'store',
        engine: 'embedded',
        database: { embedded: { file: 'store.db' } },
        replicas: [],
        slots: [{ first: 0, last: 1_023 }],
      },
    ],
  },
  sources: [
    {
      format: JOB_FORMAT,
      name: 'shop',
      engine: 'embedded',
      database: { embedded: { file: 'shop.db' } },
      tables: [
        {
          table: 'orders',
          schemaVersion: 1,
          columns: [{ name: 'id', type: 'BIGINT', nullable: false }],
          primaryKey: ['id'],
          shardKey: 'id',
        },
      ],
      window: { lengthMs: 1_000, rowsMax: 1_000, bytesMax: 1_000_000 },
    },
  ],
  sinks: [
    {
      format: JOB_FORMAT,
      name: 'reports',
      engine: 'embedded',
      database: { embedded: { file: 'reports.db' } },
      replicas: [],
    },
  ],
  paused: [],
  reports: [
    {
      format: JOB_FORMAT,
      name: 'revenue',
      source: 'shop',
      database: 'reports',
      inputs: [{ alias: 'o', kind: 'changes', table: 'orders' }],
      keys: [{ name: 'merchant', type: 'BIGINT', nullable: false }],
      measures: [{ name: 'orders', kind: 'count', type: 'BIGINT' }],
      sql: 'SELECT o.merchant AS merchant, 1 AS orders, o._w AS _w FROM o',
      parts: 1,
    },
  ],
};
