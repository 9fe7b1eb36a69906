/** A job of 150 reports of 300 lines each, through three coordinators. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { compileJob, parseJobFile, type CompiledJob } from '../../src/job/index.ts';
import { eventually } from '../support/eventually.ts';
import { TestCluster } from './cluster-harness.ts';
import { FakeExecutor, JOB_YAML } from './fake-executor.ts';

const REPORTS = 150;
const LINES = 300;

const column = (name: string) => ({ name, type: 'BIGINT', nullable: false });

/** About 10 KB of SQL each, of which no two lines are alike. */
function sqlOf(report: number): string {
  const terms = Array.from(
    { length: LINES - 2 },
    (_, line) => `+ (o.merchant NOT IN (${report * LINES + line})) * 0.${line}`,
  );
  return ['SELECT o.merchant AS merchant, 1 ', ...terms, 'AS orders, o._w AS _w FROM o'].join('\n');
}

function largeYaml(): string {
  const reports = Array.from({ length: REPORTS }, (_, report) =>
    [
      `  revenue_${report}:`,
      '    inputs: { o: { changes: orders } }',
      '    keys: { merchant: BIGINT }',
      '    measures: { orders: { kind: count } }',
      '    sql: |',
      ...sqlOf(report)
        .split('\n')
        .map((line) => `      ${line}`),
    ].join('\n'),
  );
  return `${JOB_YAML.slice(0, JOB_YAML.indexOf('  revenue:'))}${reports.join('\n')}\n`;
}

function compiled(yaml: string): CompiledJob {
  const columns = ['id', 'merchant'].map(column);
  return compileJob({
    file: parseJobFile(yaml),
    tablesOf: (source) =>
      source.tables.map(({ table }) => ({
        table,
        schemaVersion: 1,
        columns,
        primaryKey: ['id'],
        shardKey: 'id',
      })),
  });
}

const yaml = largeYaml();
let job: CompiledJob;
let cluster: TestCluster;

beforeAll(async () => {
  // It takes long, and coordinators of this process would not hear of each other meanwhile.
  job = compiled(yaml);
  cluster = await TestCluster.formed(3);
});

afterAll(async () => {
  await cluster.stop();
  expect(cluster.fatal).toEqual([]);
});

it('is declared, and a follower that was away has it from the log', async () => {
  expect(Buffer.byteLength(sqlOf(0))).toBeGreaterThan(9_000);
  const leader = await cluster.leader();
  const away = (leader + 1) % 3;
  await cluster.stopOne(away);
  const executor = new FakeExecutor(cluster.at(leader).clientAddress);
  executor.compiled = job;
  const bytes = Buffer.byteLength(JSON.stringify(executor.compiled));
  expect(bytes).toBeGreaterThan(REPORTS * 9_000);
  expect(bytes * 1.5).toBeLessThan(LIMITS.opBytesMax);
  await executor.hello().next('welcome');
  const { term } = cluster.at(leader).status();
  const items = await cluster.client().apply(yaml);
  expect(items.filter(({ kind, action }) => kind === 'report' && action === 'created')).toHaveLength(REPORTS);
  expect(await cluster.client().listReports()).toHaveLength(REPORTS);
  // First from the leader's log, then from its own disk.
  for (let start = 0; start < 2; start++) {
    await cluster.startOne(away);
    await eventually(
      () => {
        const [here, there] = [leader, away].map((position) => cluster.at(position).status());
        return here?.appliedIndex === there?.appliedIndex && here?.digest === there?.digest;
      },
      { withinMs: 10_000, what: 'the follower at the same digest' },
    );
    await cluster.stopOne(away);
  }
  // What it took did not cost the leader its office.
  expect(cluster.at(leader).status().term).toBe(term);
  executor.close();
});
