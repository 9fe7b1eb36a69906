import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { memberId, systemClock } from '../../src/base/index.ts';
import type { DriverParts } from '../../src/raft/driver/driver.ts';
import { startRaftNode } from '../../src/raft/index.ts';
import { EchoStateMachine } from './support/echo-state-machine.ts';
import { CLUSTER, quiet } from './support/grpc-cluster.ts';

const started: DriverParts[] = [];

vi.mock('../../src/raft/driver/driver.ts', () => ({
  RaftDriver: vi.fn(function take(parts: DriverParts) {
    started.push(parts);
  }),
}));

test('every start draws its timeouts from a seed of its own [R5]', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-seeds-'));
  for (const at of [1, 2, 3, 4]) {
    await startRaftNode({
      clusterId: CLUSTER,
      memberId: memberId(1),
      initialMembers: [{ id: memberId(1), peerAddress: '', clientAddress: '' }],
      folder: join(folder, String(at)),
      transport: { send: () => undefined, onFrame: () => undefined, close: () => Promise.resolve() },
      stateMachine: new EchoStateMachine(),
      clock: systemClock,
      log: quiet,
      onStatus: () => undefined,
      onFatal: () => undefined,
    });
  }
  for (const { store } of started) await store.close();
  await rm(folder, { recursive: true });
  expect(new Set(started.map(({ seed }) => seed)).size).toBe(4);
});
