/** Executors of a test's cluster, with databases of their own environment. */
import pino from 'pino';
import { must } from '../../src/base/index.ts';
import { startExecutor, type RunningExecutor } from '../../src/executor/index.ts';
import { insecureCredentials } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import type { TestCluster } from './cluster-harness.ts';

/** Starts `e1` and `e2` and returns them once both are connected. */
export async function twoExecutors(
  cluster: TestCluster,
  env: Readonly<Record<string, string>>,
): Promise<RunningExecutor[]> {
  const executors = await Promise.all(
    ['e1', 'e2'].map((name) =>
      startExecutor({
        name,
        coordinators: [must(cluster.slots[0], 'slot').clientAddress],
        slots: 2,
        baseFolder: '.',
        env,
        credentials: insecureCredentials(),
        log: pino({ level: process.env['TIDEMARK_TEST_LOG'] ?? 'silent' }),
        version: 'test',
      }),
    ),
  );
  await eventually(() => executors.every(({ connected }) => connected), { withinMs: 20_000 });
  return executors;
}
