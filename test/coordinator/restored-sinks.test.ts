/** What a restored cluster meets at the report databases of the old one: a coded refusal, nothing done. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { asToken, isTidemarkError, must, tokenTerm } from '../../src/base/index.ts';
import { writeSnapshotFile } from '../../src/backup/index.ts';
import { restoreCluster } from '../../src/coordinator/index.ts';
import { prepareSink } from '../../src/executor/sink/sink-epoch.ts';
import { openEngine } from '../../src/sql/index.ts';
import type { Prepare } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { TestCluster } from './cluster-harness.ts';
import { FakeExecutor, JOB_YAML } from './fake-executor.ts';

const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

it('the executor is refused with a code, the source says so, and no collector is started', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-sinks-'));
  const engine = openEngine({ kind: 'embedded', file: join(folder, 'reports.db') });
  const cluster = await TestCluster.formed(1);
  closing.push(
    () => rm(folder, { recursive: true }),
    () => engine.close(),
    () => cluster.stop(),
  );
  const { dataFolder, peerAddress, clientAddress } = must(cluster.slots[0], 'slot');
  const dial = (over: Parameters<FakeExecutor['hello']>[0]): FakeExecutor => {
    const executor = new FakeExecutor(clientAddress).hello(over);
    closing.push(() => {
      executor.close();
    });
    return executor;
  };
  /** As an executor does it, with what it was sent. */
  const prepare = ({ clusterId, sinkEpoch }: Prepare): Promise<string> =>
    prepareSink(engine, { clusterId, epoch: asToken(sinkEpoch) }).then(
      () => '',
      (error: unknown) => {
        if (isTidemarkError(error)) return error.code;
        throw error;
      },
    );
  const answer = (executor: FakeExecutor, { token, sourceId }: Prepare, errorCode: string): void => {
    executor.send({
      $case: 'prepare',
      value: { token, sourceId, errorCode, errorMessage: '', dimensions: [] },
    });
  };

  const old = dial({});
  await old.next('welcome');
  await cluster.client().apply(JOB_YAML);
  const first = await old.next('prepare');
  expect(await prepare(first)).toBe('');
  answer(old, first, '');
  const { epoch } = await old.next('startCollector');
  const oldClusterId = cluster.at(0).status().clusterId;
  const file = join(folder, 'backup');
  await writeSnapshotFile(file, cluster.client().snapshot());

  await cluster.stopOne(0);
  await rm(dataFolder, { recursive: true });
  const restored = await restoreCluster({ file, dataFolder, own: { peerAddress, clientAddress } });
  await cluster.startOne(0);
  await cluster.leader();
  const foreign = dial({ clusterId: oldClusterId });
  await eventually(() => foreign.error?.code === 'CLUSTER_MISMATCH', { withinMs: 5_000 });
  const executor = dial({ name: 'new', clusterId: restored.clusterId });
  const second = await executor.next('prepare');
  expect(second.clusterId).toBe(restored.clusterId);
  // Both the old grants and whatever the old cluster went on to give are below.
  for (const later of [second.token, second.sinkEpoch]) {
    expect(later).toBeGreaterThan(epoch);
    expect(tokenTerm(asToken(later))).toBeGreaterThan(restored.term);
  }
  expect(await prepare(second)).toBe('SINK_OF_OTHER_CLUSTER');
  answer(executor, second, 'SINK_OF_OTHER_CLUSTER');
  await eventually(
    async () =>
      (await cluster.client().listSources())[0]?.problem.startsWith('SINK_OF_OTHER_CLUSTER') === true,
    { withinMs: 5_000 },
  );
  expect(executor.of('startCollector')).toEqual([]);
});
