/** A small source, its job, and the leader's messages about it, for tests of the whole executor. */
import type { SqlEngine } from '../../src/sql/index.ts';
import type { CompiledJob } from '../../src/job/index.ts';
import {
  PrepareStep,
  reportDefinition,
  type Prepare,
  type Reconcile,
  type SealedWindow,
  type Task,
} from '../../src/wire/index.ts';
import { CLUSTER, type FakeLeader } from './fake-leader.ts';

/** Tokens of these tests are above 2^53. */
export const token = (n: number): bigint => (50_000n << 40n) + BigInt(n);

export type Place = 'embedded' | 'mysql';

export function jobYaml(place: Place): string {
  const database = (name: string): string =>
    place === 'embedded' ? `embedded: {file: ${name}.db}` : `mysql: {url: {env: ${name.toUpperCase()}_URL}}`;
  return `version: 1
job: shop
sources:
  shop:
    ${database('source')}
    tables: [orders]
    window: {lengthMs: 200}
stores:
  shard1: {${database('store')}}
databases:
  reports: {${database('reports')}}
reports:
  by_country:
    inputs: {o: {changes: orders}, m: {dimension: merchants}}
    keys: {country: TEXT(2)}
    measures:
      orders: {kind: count}
      revenue: {kind: sum, type: BIGINT}
      largest: {kind: max, type: BIGINT}
    sql: |
      SELECT m.country AS country, o.id AS orders, o.cents AS revenue, o.cents AS largest, o._w AS _w
      FROM o JOIN m ON m.merchant_id = o.merchant_id
`;
}

export async function makeShop(source: SqlEngine): Promise<void> {
  await source.use('test', async (connection) => {
    await connection.query(
      'CREATE TABLE merchants (merchant_id BIGINT NOT NULL PRIMARY KEY, country VARCHAR(2))',
    );
    await connection.query(
      'CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, merchant_id BIGINT NOT NULL, cents BIGINT)',
    );
    await connection.query("INSERT INTO merchants VALUES (1, 'DE'), (2, 'FR')");
    await connection.query('INSERT INTO orders VALUES (1, 1, 100), (2, 1, 250), (3, 2, 70)');
  });
}

export function define(leader: FakeLeader, job: CompiledJob): void {
  const [source] = job.sources;
  const [sink] = job.sinks;
  const [report] = job.reports;
  const topology = { ...job.topology, version: 1 };
  const documents = {
    ...{ 'topology/1': topology, 'source/1': source, 'sink/1': sink },
    [reportDefinition(1, 1)]: report,
  };
  const definitions = Object.entries(documents).map(([id, document]) => ({
    id,
    json: JSON.stringify(document),
  }));
  leader.say({ $case: 'definitions', value: { definitions } });
}

export const prepareOrder: Prepare = {
  token: token(1),
  leaderTerm: 3n,
  sourceId: 1n,
  sinkId: 1n,
  sinkEpoch: token(2),
  clusterId: CLUSTER,
  reports: [reportDefinition(1, 1)],
  step: PrepareStep.PREPARE_STEP_ALL,
  copies: [],
  pending: [],
  superseded: [],
};

/** A report database that nobody has written to yet. */
export const reconcileOrder: Reconcile = {
  epoch: token(2),
  leaderTerm: 3n,
  known: {
    sinkId: 1n,
    clusterId: CLUSTER,
    formerIds: [],
    generations: [
      {
        definition: reportDefinition(1, 1),
        sourceId: 1n,
        keptFrom: 1n,
        prepared: false,
        foldedWindow: 0n,
        foldedSeal: 0n,
        finalWindow: 0n,
      },
    ],
  },
};

export function taskOf(window: SealedWindow, version: number, more: Partial<Task> = {}): Task {
  return {
    task: `1/1/${window.window}/0`,
    reportId: 1n,
    generation: 1n,
    sourceId: 1n,
    firstWindow: window.window,
    lastWindow: window.window,
    part: 0,
    parts: 1,
    version,
    token: token(100 + version),
    leaderTerm: 3n,
    sinkId: 1n,
    sinkEpoch: token(2),
    kind: 1,
    windows: [window],
    deadlineMs: 10_000,
    superseded: [],
    formerChains: [],
    prepared: token(1),
    topologyVersion: 1,
    reason: '',
    ...more,
  };
}
