import { describe, expect, it } from 'vitest';
import { parseToken } from '../../src/base/index.ts';
import { idKey, type Operation } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { jobOf, runningWorld } from './support/world.ts';

const RESTORE: Operation = { type: 'cluster.restore', v: 1, formerId: 'former' };

describe('a cluster that was made from a backup', () => {
  rule('state.restoreKeepsCounters', 'gives no id and no revision that the old one may have given', () => {
    const world = runningWorld();
    const { ids, grants, revision = 0 } = world.state.cluster;
    world.accept(RESTORE);
    const after = world.state.cluster;
    for (const family of ['source', 'sink', 'report'] as const) {
      expect(after.ids[family]).toBeGreaterThanOrEqual(ids[family] + 1_000_000);
    }
    for (const family of ['session', 'executor'] as const) {
      expect(after.ids[family]).toBeGreaterThan(ids[family] + 4_000_000_000);
    }
    expect(after.grants).toBeGreaterThanOrEqual(grants + 1_000_000);
    expect(after.revision).toBeGreaterThan(revision + 4_000_000_000);
    expect(world.executor('two')).toBe(after.ids.executor + 1);
  });

  rule('state.restoreKeepsCollectors', 'adopts no collector, no prepared tables and no sink epoch', () => {
    const world = runningWorld(jobOf({ shop: ['sales'], depot: ['stock'] }));
    const old = world.collect(1, 2);
    world.seal();
    const { lastWindow, position } = world.source();
    world.accept(RESTORE);
    for (const id of [1, 2]) expect(world.source(id)).toMatchObject({ prepare: null, collector: null });
    expect(world.state.sinks.get(idKey(1))?.epoch).toBeNull();
    expect(world.source()).toMatchObject({ lastWindow, position });
    world.term += 4_096;
    expect(parseToken(world.collect(1, 2))).toBeGreaterThan(parseToken(old));
  });

  it('still answers a retry of what the backup holds', () => {
    const world = runningWorld();
    const session = world.accept({ type: 'session.open', v: 1, name: 'client' })['sessionId'] as number;
    world.accept(RESTORE);
    expect(world.state.sessions.get(idKey(session))).toBeDefined();
  });
});
