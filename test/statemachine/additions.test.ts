import { describe, expect, it } from 'vitest';
import { idKey, type AddSchema, type DeclareJob, type Operation } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { jobOf, prepared, runningWorld, sealOf, type World } from './support/world.ts';

const ORDERS = '{"tables":[]}';
const sealed = jobOf({ shop: ['sales'], other: ['visits'] });
const withShop = (change: Partial<DeclareJob['sources'][number]>): DeclareJob => ({
  ...sealed,
  sources: sealed.sources.map((source) => (source.name === 'shop' ? { ...source, ...change } : source)),
});
const TABLES = ['orders', 'lines', 'third'];
/** The source with its first tables; `kept` of them are captured already. */
const adding = (tables: number, kept = 1, window = ''): DeclareJob => {
  const specOf = (count: number): string =>
    count === 1 && window === '' ? ORDERS : `{"${count}":"${window}"}`;
  return withShop({
    spec: specOf(tables),
    captured: ['here', ...TABLES.slice(0, tables)],
    begins: TABLES.slice(0, tables).map((table) => `at ${table}`),
    keptTables: kept,
    kept: specOf(kept),
  });
};
const more = adding(2);

function sealedWorld(): World {
  const world = runningWorld(sealed);
  world.seal();
  return world;
}

function grant(world: World): string {
  const value = world.accept({ type: 'prepare.grant', v: 1, sourceId: 1, executorId: 1 });
  return value['token'] as string;
}

const failed = (token: string): Operation => ({
  type: 'prepare.finish',
  v: 1,
  sourceId: 1,
  token,
  copies: [],
  errorCode: 'DB_FAILED',
  errorMessage: 'row size too large',
  retryAfterMs: 500,
});

describe('tables that are added to a sealed source', () => {
  rule('state.addedTablesAtOnce', 'leave it as it is until they are prepared', () => {
    const world = sealedWorld();
    const before = world.source();
    expect(world.accept(more)['items']).toContain('"name":"shop","id":1,"generation":1,"action":"changed"');
    const states = [expect.objectContaining({ shard: 's1', window: 0 })];
    const addition = {
      spec: '{"2":""}',
      captured: ['here', 'orders', 'lines'],
      cursor: 'at lines',
      prepare: null,
      attempts: 0,
      failedExecutorId: 0,
      problem: '',
      retryAtMs: 0,
    };
    expect(world.source()).toEqual({ ...before, states, addition });
    expect(world.accept(more)).toMatchObject({ changed: false });

    const first = grant(world);
    world.accept(failed(first));
    const after = { attempts: 1, failedExecutorId: 1, problem: 'DB_FAILED: row size too large' };
    const retryAtMs = world.logTimeMs + 500;
    expect(world.source()).toEqual({ ...before, states, addition: { ...addition, ...after, retryAtMs } });
    world.seal();
    world.grant({ window: 2, executorId: 1 });

    const token = grant(world);
    world.accept(prepared(1, token));
    const { spec, captured, cursor } = addition;
    expect(world.source()).toMatchObject({ spec, captured, cursor, formerTables: 1, addition: null });
    expect(world.source()).toMatchObject({ prepare: before.prepare, collector: null, problem: '' });
    expect(world.refuse(prepared(1, first))).toBe('STALE_EPOCH');
    expect(world.refuse({ type: 'prepare.grant', v: 1, sourceId: 1, executorId: 1 })).toBe('TASK_FINISHED');
  });

  it('may be taken out again, or be others, until then', () => {
    const world = sealedWorld();
    const before = world.source();
    world.accept(more);
    const token = grant(world);
    world.accept(adding(3));
    expect(world.source().addition).toMatchObject({ captured: ['here', ...TABLES], prepare: null });
    expect(world.refuse(prepared(1, token))).toBe('STALE_EPOCH');
    world.accept(sealed);
    expect(world.source()).toMatchObject({ spec: before.spec, collector: before.collector, addition: null });
    // The windows of what is captured may change all the same, at once.
    world.accept(adding(2, 1, 'longer'));
    expect(world.source()).toMatchObject({ spec: '{"1":"longer"}', collector: null });
  });

  rule(
    'state.waitingTablesAnew',
    'wait on while the rest of the job changes, and their source is stuck',
    () => {
      const world = sealedWorld();
      world.accept(more);
      const token = grant(world);
      const problem = 'SCHEMA_CHANGED: its key is another';
      world.state.sources.put(idKey(1), { ...world.source(), problem });
      world.state.takeChanges();
      expect(world.refuse(adding(3))).toBe('REPORT_ON_SEALED_SOURCE');
      world.accept(adding(2, 1, 'longer'));
      expect(world.source()).toMatchObject({ spec: '{"1":"longer"}', addition: { spec: '{"2":"longer"}' } });
      world.state.sources.put(idKey(1), { ...world.source(), problem: '' });
      world.accept(prepared(1, token));
      expect(world.source()).toMatchObject({ spec: '{"2":"longer"}', addition: null });
    },
  );

  rule('state.tablesAddedWhileCopying', 'are copied one snapshot after the other', () => {
    const world = sealedWorld();
    world.accept(more);
    world.accept(prepared(1, grant(world)));
    expect(world.refuse(adding(3, 2))).toBe('REPORT_ON_SEALED_SOURCE');
    world.collect(1);
    world.accept({ ...sealOf(world.source(), 2), cursor: 'further' });
    expect(world.source()).toMatchObject({ cursor: 'further', formerTables: 1 });
    world.accept(sealOf(world.source(), 3));
    expect(world.source()).toMatchObject({ cursor: '', formerTables: 0 });
    // Compiled before the others were there.
    expect(world.refuse(adding(3, 1))).toBe('REPORT_ON_SEALED_SOURCE');
    world.accept(adding(3, 2));
    const token = grant(world);
    // A re-snapshot is asked for meanwhile: they wait until it is over.
    world.accept({
      type: 'collector.stop',
      v: 1,
      sourceId: 1,
      epoch: world.source().collector?.epoch ?? '',
      errorCode: 'BINLOG_PURGED',
      errorMessage: 'it is gone',
      retryAfterMs: 0,
    });
    const lost = world.source();
    world.accept(prepared(1, token));
    expect(world.source()).toEqual({ ...lost, addition: { ...lost.addition, prepare: null } });
    world.state.sources.put(idKey(1), { ...lost, lostPosition: null });
    world.accept(prepared(1, token));
    expect(world.source()).toMatchObject({ cursor: 'at third', formerTables: 2, addition: null });
  });

  it('are none where its past is gone, or it cannot go on', () => {
    const world = sealedWorld();
    const stands = world.source();
    const standsIn: readonly Partial<typeof stands>[] = [
      { horizon: 1 },
      { lostPosition: { code: 'BINLOG_PURGED', message: 'it is gone' } },
      { problem: 'SCHEMA_CHANGED: its key is another' },
    ];
    for (const change of standsIn) {
      world.state.sources.put(idKey(1), { ...stands, ...change });
      world.state.takeChanges();
      expect(world.refuse(more)).toBe('REPORT_ON_SEALED_SOURCE');
    }
    world.state.sources.put(idKey(1), stands);
    // Before the first window a source is prepared and captured anew.
    const fresh = runningWorld(sealed);
    fresh.accept(adding(2, 0));
    expect(fresh.source()).toMatchObject({ prepare: null, addition: null, cursor: '', formerTables: 0 });
  });

  rule('state.schemaUndoesAddition', 'stay added when a captured table is altered meanwhile', () => {
    const world = sealedWorld();
    world.accept(more);
    const token = grant(world);
    const altered = (former: string): AddSchema => ({
      type: 'schema.add',
      v: 1,
      sourceId: 1,
      epoch: world.source().collector?.epoch ?? '',
      table: 'orders',
      version: 2,
      spec: '{"orders":2}',
      replaced: '{"orders":1}',
      captured: ['here', 'orders 2'],
      addition: { former, spec: '{"orders":2,"lines":1}', captured: ['here', 'orders 2', 'lines'] },
      stops: [],
    });
    expect(world.refuse(altered(''))).toBe('STALE_VERSION');
    world.accept(altered('{"2":""}'));
    expect(world.source()).toMatchObject({ spec: '{"orders":2}', captured: ['here', 'orders 2'] });
    world.accept(prepared(1, token));
    expect(world.source()).toMatchObject({
      spec: '{"orders":2,"lines":1}',
      captured: ['here', 'orders 2', 'lines'],
    });
  });

  it('are prepared under another grant in a restored cluster, behind those of the source', () => {
    const world = sealedWorld();
    world.accept(more);
    const token = grant(world);
    world.accept({ type: 'cluster.restore', v: 1, formerId: 'former' });
    world.reconcile(1);
    expect(world.refuse(prepared(1, token))).toBe('STALE_EPOCH');
    world.accept(prepared(1, grant(world)));
    expect(world.source()).toMatchObject({ prepare: { done: true }, addition: { prepare: null } });
    world.accept(prepared(1, grant(world)));
    expect(world.source().addition).toBeNull();
  });
});
