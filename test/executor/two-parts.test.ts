/** One executor, two embedded store shards: collected, sealed, computed in two parts and merged. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import { Executor } from '../../src/executor/executor.ts';
import type { CompiledJob } from '../../src/job/index.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import { insecureCredentials, TaskResult } from '../../src/wire/index.ts';
import { FakeLeader } from './fake-leader.ts';
import { define, jobYaml, makeShop, prepareOrder, reconcileOrder, taskOf, token } from './shop.ts';

const STORES = '  first: {embedded: {file: first.db}}\n  second: {embedded: {file: second.db}}';

let folder: string;
let leader: FakeLeader;
let executor: Executor;
const engines: SqlEngine[] = [];

const open = (name: string): SqlEngine => {
  const engine = openEngine({ kind: 'embedded', file: join(folder, `${name}.db`) });
  engines.push(engine);
  return engine;
};
const read = async (engine: SqlEngine, sql: string): Promise<readonly (readonly SqlValue[])[]> =>
  (await engine.use('test', (connection) => connection.query(sql))).rows;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-parts-'));
  leader = await FakeLeader.start();
  executor = new Executor({
    name: 'e1',
    coordinators: [leader.address],
    channelCredentials: insecureCredentials().client.channel,
    slots: 2,
    version: 'test',
    engines: ['embedded'],
    databases: { env: {}, baseFolder: folder },
    log: { info: () => undefined, warn: () => undefined },
  });
  executor.start();
  await leader.hears('heartbeat');
});

afterAll(async () => {
  await executor.stop();
  leader.stop();
  for (const engine of engines) await engine.close();
  await rm(folder, { recursive: true, force: true });
});

it('computes each part on its shard, and the report is whole when both are merged', async () => {
  const source = open('source');
  await makeShop(source);
  const more = Array.from({ length: 40 }, (_, at) => `(${at + 10}, ${1 + (at % 2)}, ${at})`);
  await read(source, `INSERT INTO orders VALUES ${more.join()}`);

  const yaml = jobYaml('embedded').replace(/^ {2}shard1: .*$/m, STORES);
  leader.say({
    $case: 'validate',
    value: { request: 1n, jobYaml: yaml, knownSources: [], knownReports: [] },
  });
  const { compiledJson, errorMessage } = await leader.hears('validate');
  expect(errorMessage).toBe('');
  const job = JSON.parse(compiledJson) as CompiledJob;
  expect(job.reports.map(({ parts }) => parts)).toEqual([2]);
  define(leader, job);
  leader.say({ $case: 'reconcile', value: reconcileOrder });
  await leader.hears('sinkFound', ({ last }) => last);
  leader.say({ $case: 'prepare', value: prepareOrder });
  expect((await leader.hears('prepare')).errorMessage).toBe('');

  const epoch = token(50);
  const start = { sourceId: 1n, epoch, leaderTerm: 3n, lastWindow: 0n, position: '', topologyVersion: 1 };
  leader.say({
    $case: 'startCollector',
    value: { ...start, cursor: '', resnapshot: false, formerTables: 0, lost: [], formerChains: [] },
  });
  const seal = await leader.hears('seal', (one) => one.window?.window === 1n);
  const window = must(seal.window, 'the sealed window');
  expect(window.shards.map(({ shard }) => shard)).toEqual(['first', 'second']);
  for (const { shard, rows } of window.shards) {
    expect(rows).toBeGreaterThan(5n);
    expect(await read(open(shard), 'SELECT COUNT(*) FROM tm_change_1_orders_v1')).toEqual([[rows]]);
  }
  expect(window.shards.reduce((sum, { rows }) => sum + rows, 0n)).toBe(43n);

  const reports = open('reports');
  const shown = 'SELECT country, orders, revenue, largest FROM by_country ORDER BY country';
  const whole = await read(
    source,
    `SELECT country, COUNT(*), SUM(cents), MAX(cents) FROM orders JOIN merchants USING (merchant_id)
     GROUP BY country ORDER BY country`,
  );
  for (const [part, { rows }] of window.shards.entries()) {
    const task = taskOf(window, part + 1, { task: `1/1/1/${part}`, part, parts: 2 });
    leader.say({ $case: 'dispatch', value: { tasks: [task] } });
    const outcome = await leader.hears('task', (one) => one.task === task.task);
    expect(outcome).toMatchObject({ result: TaskResult.TASK_RESULT_DONE, rowsIn: rows });
    const isLast = part === window.shards.length - 1;
    if (isLast) expect(await read(reports, shown)).toEqual(whole);
    else expect(await read(reports, shown)).not.toEqual(whole);
    const covered = await read(reports, 'SELECT last_window FROM tm_watermark');
    expect(covered[0]?.[0] === 1n).toBe(isLast);
  }
});
