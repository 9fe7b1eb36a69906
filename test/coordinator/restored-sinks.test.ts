/** What a restored cluster does with the report databases of the old one. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { asToken, isTidemarkError, must, tokenTerm } from '../../src/base/index.ts';
import { writeSnapshotFile } from '../../src/backup/index.ts';
import { restoreCluster } from '../../src/coordinator/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import type { Reconcile } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { reconcile } from '../executor/sink-fixture.ts';
import { TestCluster } from './cluster-harness.ts';
import { FakeExecutor, JOB_YAML } from './fake-executor.ts';

const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** As an executor does it, with what it was sent; answers the code of the error, if any. */
function setEpochOf(engine: SqlEngine, { known, epoch }: Reconcile): Promise<string> {
  return reconcile(engine, {
    clusterId: known?.clusterId ?? '',
    formerIds: known?.formerIds ?? [],
    epoch: asToken(epoch),
    generations: [],
  }).then(
    () => '',
    (error: unknown) => {
      if (isTidemarkError(error)) return error.code;
      throw error;
    },
  );
}

it('are taken over by its former self, restored, and by nobody else; what hinders that is told', async () => {
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
  const setEpoch = (order: Reconcile): Promise<string> => setEpochOf(engine, order);

  const old = dial({});
  await old.next('welcome');
  await cluster.client().apply(JOB_YAML);
  const theirs = await old.next('reconcile');
  expect(await setEpoch(theirs)).toBe('');
  const { token, sourceId } = await old.next('prepare');
  old.send({ $case: 'prepare', value: { token, sourceId, errorCode: '', errorMessage: '', copies: [] } });
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
  executor.reconciles = false;
  const own = await executor.next('reconcile');
  expect(own.known).toMatchObject({ clusterId: restored.clusterId, formerIds: [oldClusterId] });
  // Both the old grants and whatever the old cluster went on to give are below.
  expect(own.epoch).toBeGreaterThan(epoch);
  expect(tokenTerm(asToken(own.epoch))).toBeGreaterThan(restored.term);
  expect(await setEpoch(own)).toBe('');
  // From here on the old cluster's executors are strangers there.
  expect(await setEpoch({ ...theirs, epoch: own.epoch + 1n })).toBe('SINK_OF_OTHER_CLUSTER');

  const value = {
    sinkId: own.known?.sinkId ?? 0n,
    epoch: own.epoch,
    errorCode: 'SINK_AHEAD',
    errorMessage: 'x',
  };
  executor.send({ $case: 'sinkFailed', value });
  await eventually(async () => (await cluster.client().listSources())[0]?.problem === 'SINK_AHEAD: x', {
    withinMs: 5_000,
  });
  expect(executor.of('prepare')).toEqual([]);
  // The next try is made under a fresh epoch.
  expect((await executor.next('reconcile', 1)).epoch).toBeGreaterThan(own.epoch);
});
