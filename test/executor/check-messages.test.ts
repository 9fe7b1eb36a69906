import { describe, expect, it } from 'vitest';
import { checkCollector, checkPrepare, checkTask } from '../../src/executor/check-messages.ts';
import type { SealedWindow, Task } from '../../src/wire/index.ts';
import { prepareOrder, taskOf, token } from './shop.ts';

const window: SealedWindow = {
  window: 4n,
  epoch: token(3),
  from: 'a',
  to: 'b',
  day: '2026-11-22',
  coversMs: 0n,
  topologyVersion: 1,
  shards: [],
  schemaVersions: [],
};

const wrong: readonly Partial<Task>[] = [
  { token: 0n },
  { token: -1n },
  { token: 2n ** 63n },
  { sinkEpoch: 0n },
  { prepared: 0n },
  { reportId: 0n },
  { generation: 2n ** 60n },
  { kind: 0 },
  { part: 1 },
  { windows: [] },
  { lastWindow: 5n },
  { firstWindow: 3n },
  { windows: [window, window] },
];

describe('messages of a leader', () => {
  it.each(wrong)('a task with %o is refused', (change) => {
    checkTask(taskOf(window, 1));
    expect(() => {
      checkTask(taskOf(window, 1, change));
    }).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  it('a prepare order without a token, an epoch or a cluster is refused', () => {
    checkPrepare(prepareOrder);
    for (const change of [{ token: 0n }, { sinkEpoch: 0n }, { clusterId: '' }, { sinkId: 0n }]) {
      expect(() => {
        checkPrepare({ ...prepareOrder, ...change });
      }).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    }
  });

  it('a collector without an epoch or with an impossible window is refused', () => {
    const order = {
      sourceId: 1n,
      epoch: token(1),
      leaderTerm: 1n,
      lastWindow: 0n,
      position: '',
      cursor: '',
      resnapshot: false,
      formerTables: 0,
      topologyVersion: 1,
      lost: [] as SealedWindow[],
      formerChains: [],
    };
    checkCollector(order);
    const unsealed = { lost: [{ window: 1n } as SealedWindow] };
    for (const change of [{ epoch: 0n }, { sourceId: 0n }, { lastWindow: 2n ** 60n }, unsealed]) {
      expect(() => {
        checkCollector({ ...order, ...change });
      }).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    }
  });
});
