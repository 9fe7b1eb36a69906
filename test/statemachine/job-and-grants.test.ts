import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { idKey } from '../../src/statemachine/index.ts';
import type { DeclaredItem, DeclareJob, Operation } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import {
  finishOf,
  grantOf,
  jobOf,
  prepared,
  reconciled,
  runningWorld,
  sealOf,
  topologyOf,
  World,
} from './support/world.ts';

function declare(world: World, job: DeclareJob): { changed: unknown; actions: Record<string, string> } {
  const value = world.accept(job);
  const items = JSON.parse(value['items'] as string) as DeclaredItem[];
  const actions = items.map(({ kind, name, id, generation, action }) => [
    `${kind} ${name}`,
    `${id}/${generation} ${action}`,
  ]);
  return { changed: value['changed'], actions: Object.fromEntries(actions) as Record<string, string> };
}

const changedReport = (job: DeclareJob): DeclareJob => ({
  ...job,
  reports: job.reports.map((report, i) => (i === 0 ? { ...report, specHash: 'h2' } : report)),
});

describe('declaring a job', () => {
  it('gives ids and generations, and does nothing when it is repeated', () => {
    const world = new World();
    const job = jobOf({ shop: ['sales', 'returns'] });
    expect(declare(world, job)).toEqual({
      changed: true,
      actions: {
        'store store': '1/1 created',
        'database main': '1/1 created',
        'source shop': '1/1 created',
        'report sales': '1/1 created',
        'report returns': '2/1 created',
      },
    });
    const { digest } = world.state;
    const again = declare(world, job);
    expect(again.changed).toBe(false);
    expect(new Set(Object.values(again.actions).map((text) => text.split(' ')[1]))).toEqual(
      new Set(['unchanged']),
    );
    expect(world.state.digest).toBe(digest);
  });

  it('makes a changed report a new generation, and prepares and collects its source anew', () => {
    const world = runningWorld(jobOf({ shop: ['sales', 'returns'] }));
    const { actions } = declare(world, changedReport(jobOf({ shop: ['sales', 'returns'] })));
    expect(actions).toMatchObject({
      'report sales': '1/2 changed',
      'report returns': '2/1 unchanged',
      'source shop': '1/1 unchanged',
    });
    expect(world.source()).toMatchObject({ prepare: null, collector: null });
  });

  it('never gives an id twice', () => {
    const world = new World();
    declare(world, jobOf({ shop: ['sales'] }));
    expect(declare(world, jobOf({ shop: [] })).actions).toMatchObject({ 'report sales': '1/1 removed' });
    expect(declare(world, jobOf({ shop: ['sales'] })).actions).toMatchObject({
      'report sales': '2/1 created',
    });
    expect(declare(world, jobOf({}, { sinks: [] })).actions).toMatchObject({
      'source shop': '1/1 removed',
      'database main': '1/1 removed',
    });
    expect(declare(world, jobOf({ shop: [] })).actions).toMatchObject({
      'source shop': '2/1 created',
      'database main': '2/1 created',
    });
  });

  const sealed = jobOf({ shop: ['sales'], other: ['visits'] });
  const withSources = (change: Partial<DeclareJob['sources'][number]>): DeclareJob => ({
    ...sealed,
    sources: sealed.sources.map((source) => ({ ...source, ...change })),
  });
  it.each([
    ['a report moves away', jobOf({ shop: [], other: ['visits', 'sales'] })],
    ['a report moves here', jobOf({ shop: ['sales', 'visits'], other: [] })],
    ['the source is changed', withSources({ spec: '{"x":1}', captured: ['there', 'orders'] })],
  ])('is refused whole on a source with sealed windows when %s', (_what, job) => {
    const world = runningWorld(sealed);
    world.seal();
    expect(world.refuse(job)).toBe('REPORT_ON_SEALED_SOURCE');
  });

  rule('state.otherWindowsKeepCollector', 'has windows of a sealed source cut otherwise from now on', () => {
    const world = runningWorld(sealed);
    world.seal();
    const before = world.source();
    expect(declare(world, withSources({ spec: '{"window":2}' })).actions).toMatchObject({
      'source shop': '1/1 changed',
      'report sales': '1/1 unchanged',
    });
    expect(world.source()).toEqual({ ...before, spec: '{"window":2}', collector: null });
    // Who still cuts them as before seals nothing, and a schema version of its would bring the former back.
    expect(world.refuse(sealOf(before, 2))).toBe('STALE_EPOCH');
    world.collect(1);
    world.seal();
    expect(declare(world, withSources({ spec: '{"window":2}' })).actions).toMatchObject({
      'source shop': '1/1 unchanged',
    });
  });

  rule('state.sealedSourceStays', 'removes a sealed source with all that is of it', () => {
    const world = runningWorld(sealed);
    world.seal();
    const task = world.grant({ window: 1, executorId: 1 });
    const { collector } = world.source();
    world.seal();
    const before = world.source();
    expect(declare(world, jobOf({ other: ['visits'] })).actions).toMatchObject({
      'source shop': '1/1 removed',
      'report sales': '1/1 removed',
      'source other': '2/1 unchanged',
    });
    const { sources, windows, spans, tasks, reports } = world.state;
    expect([sources.size, windows.size, spans.size, tasks.size]).toEqual([1, 0, 0, 0]);
    // Whoever holds a grant of it is refused.
    expect(world.refuse(sealOf({ ...before, collector }, 3))).toBe('UNKNOWN_SOURCE');
    expect(world.apply(finishOf(task)).ok).toBe(false);
    const span = { reportId: 1, generation: 1, firstWindow: 1, lastWindow: 1 };
    expect(world.refuse({ type: 'span.open', v: 1, ...span })).toBe('UNKNOWN_SOURCE');
    // The report is dropped like any other.
    expect(reports.get(idKey(1))).toMatchObject({ phase: 'retired' });
    const report = { v: 1, reportId: 1, generation: 1 } as const;
    const { token } = world.accept({ type: 'report.grant', ...report, executorId: 1 });
    const end = { token: token as string, copies: [], errorCode: '', errorMessage: '', retryAfterMs: 0 };
    world.accept({ type: 'report.finish', ...report, ...end });
    expect(reports.get(idKey(1))).toBeUndefined();
    expect(declare(world, sealed).actions).toMatchObject({
      'source shop': '3/1 created',
      'report sales': '3/1 created',
    });
  });

  rule('state.reportsWithoutSink', 'forgets reports with their database', () => {
    const world = runningWorld(sealed);
    world.seal();
    expect(declare(world, jobOf({}, { sinks: [] })).actions).toMatchObject({
      'database main': '1/1 removed',
    });
    const { sources, windows, reports, sinks } = world.state;
    expect([sources.size, windows.size, reports.size, sinks.size]).toEqual([0, 0, 0, 0]);
  });

  it('is refused when the databases under a sealed source change', () => {
    const world = runningWorld(sealed);
    world.seal();
    expect(world.refuse({ ...sealed, topology: topologyOf('s1', 's2') })).toBe('TOPOLOGY_FIXED');
    const sinks = [{ name: 'main', spec: '{"x":1}', members: ['another'] }];
    expect(world.refuse({ ...sealed, sinks })).toBe('TOPOLOGY_FIXED');
  });

  it('lets replicas come and go under sealed windows, and a replica be named as the primary', () => {
    const world = runningWorld(sealed);
    world.seal();
    const grants = world.source();
    const withMembers = (...members: string[]): DeclareJob => ({
      ...sealed,
      topology: { spec: members.join(), shards: [{ name: 's1', slots: 's1', members }] },
      sinks: [{ name: 'main', spec: members.join(), members: ['main', ...members] }],
    });
    const { actions } = declare(world, withMembers('s1', 'replica'));
    expect(actions).toMatchObject({
      'store store': '1/2 changed',
      'database main': '1/1 changed',
      'source shop': '1/1 unchanged',
    });
    expect(world.source()).toEqual(grants);
    expect(world.state.sinks.get(idKey(1))).toMatchObject({ spec: 's1,replica', epoch: expect.any(String) });
    declare(world, withMembers('replica'));
    expect(world.state.topology).toMatchObject({ version: 3, placedVersion: 1 });
    // A collector that was granted under an older version goes on: the rows lie where they lay.
    world.apply(sealOf(world.source(), 2, { topologyVersion: 2 }));
    expect(world.refuse(sealOf(world.source(), 3, { topologyVersion: 4 }))).toBe('BAD_REQUEST');
    // The first primary has left the group: who knows what it holds by now.
    expect(world.refuse(withMembers('s1'))).toBe('TOPOLOGY_FIXED');
  });

  it('places everything anew while nothing is sealed', () => {
    const world = runningWorld(sealed);
    declare(world, { ...sealed, topology: topologyOf('s1', 's2') });
    expect(world.state.topology).toMatchObject({ version: 2, placedVersion: 2 });
    expect(world.source()).toMatchObject({ prepare: null, collector: null });
    expect(world.refuse(sealOf(world.source(), 1))).toBe('STALE_EPOCH');
  });

  it('lets other sources change beside a sealed one', () => {
    const world = runningWorld(sealed);
    world.seal();
    const { actions } = declare(world, jobOf({ shop: ['sales'], other: ['visits', 'more'] }));
    expect(actions).toMatchObject({ 'report more': '3/1 created', 'report sales': '1/1 unchanged' });
    expect(world.source(1).lastWindow).toBe(1);
  });

  it.each<[string, DeclareJob, string]>([
    ['a name occurs twice', jobOf({ shop: ['a', 'a'] }), 'JOB_INVALID'],
    ['a name is empty', jobOf({ shop: [''] }), 'JOB_INVALID'],
    ['a name is too long', jobOf({ shop: ['x'.repeat(LIMITS.nameLengthMax + 1)] }), 'JOB_INVALID'],
    ['there is no shard', jobOf({}, { topology: { spec: '', shards: [] } }), 'JOB_INVALID'],
    ['a database is missing', jobOf({ shop: [] }, { sinks: [] }), 'JOB_INVALID'],
    ['a source is missing', jobOf({ shop: ['a'] }, { sources: [] }), 'JOB_INVALID'],
    [
      'a report has another database than its source',
      (() => {
        const job = jobOf(
          { shop: ['a'] },
          { sinks: ['main', 'b'].map((name) => ({ name, spec: '', members: [name] })) },
        );
        return { ...job, reports: job.reports.map((report) => ({ ...report, sink: 'b' })) };
      })(),
      'JOB_UNSUPPORTED',
    ],
    [
      'there are too many sources',
      jobOf(Object.fromEntries(Array.from({ length: LIMITS.sourcesMax + 1 }, (_, i) => [`s${i}`, []]))),
      'JOB_INVALID',
    ],
  ])('is refused when %s', (_what, job, code) => {
    expect(new World().refuse(job)).toBe(code);
  });
});

describe('grants before tasks', () => {
  it('come in order: sink epoch, prepare, collector', () => {
    const world = new World();
    world.accept(jobOf());
    const prepare: Operation = { type: 'prepare.grant', v: 1, sourceId: 1, executorId: 1 };
    const collector: Operation = { type: 'collector.grant', v: 1, sourceId: 1, executorId: 1 };
    expect(world.refuse(prepare)).toBe('UNKNOWN_EXECUTOR');
    world.executor('one');
    expect(world.refuse(prepare)).toBe('SINK_EPOCH');
    const { epoch } = world.accept({ type: 'sink.grant', v: 1, sinkId: 1, executorId: 1 });
    expect(world.refuse(prepare)).toBe('SINK_EPOCH');
    world.accept(reconciled(1, epoch as string));
    expect(world.refuse(collector)).toBe('BAD_REQUEST');
    const { token } = world.accept(prepare);
    world.accept(prepared(1, token as string));
    expect(world.refuse(prepare)).toBe('TASK_FINISHED');
    expect(world.accept(collector)).toMatchObject({ position: '', lastWindow: 0 });
    expect(world.refuse({ ...collector, executorId: 9 })).toBe('UNKNOWN_EXECUTOR');
    expect(world.refuse({ ...collector, sourceId: 9 })).toBe('UNKNOWN_SOURCE');
    expect(world.refuse({ type: 'sink.grant', v: 1, sinkId: 9, executorId: 1 })).toBe('UNKNOWN_SINK');
  });

  it('accept the end of a prepare from its current token only, and show its failure', () => {
    const world = new World();
    world.executor('one');
    world.accept(jobOf());
    world.reconcile(1);
    const grant: Operation = { type: 'prepare.grant', v: 1, sourceId: 1, executorId: 1 };
    const old = world.accept(grant)['token'] as string;
    const current = world.accept(grant)['token'] as string;
    expect(world.refuse(prepared(1, old))).toBe('STALE_EPOCH');
    world.accept({
      ...prepared(1, current),
      errorCode: 'TABLE_MISSING',
      errorMessage: 'no table x',
      retryAfterMs: 70,
    } as Operation);
    expect(world.source()).toMatchObject({
      prepare: null,
      problem: 'TABLE_MISSING: no table x',
      retryAtMs: world.logTimeMs + 70,
    });
    const token = world.accept(grant)['token'] as string;
    world.accept(prepared(1, token));
    world.accept(prepared(1, token));
    expect(world.source()).toMatchObject({ problem: '', retryAtMs: 0, prepare: { done: true } });
  });

  it('give the next collector the last position, and show why the last one ended until it seals', () => {
    const world = runningWorld();
    const first = world.source().collector?.epoch ?? '';
    world.seal();
    const stop: Operation = {
      type: 'collector.stop',
      v: 1,
      sourceId: 1,
      epoch: first,
      errorCode: 'DB_UNREACHABLE',
      errorMessage: 'gone',
      retryAfterMs: 10,
    };
    world.accept(stop);
    expect(world.source()).toMatchObject({ collector: null, problem: 'DB_UNREACHABLE: gone' });
    expect(world.refuse(sealOf(world.source(), 2, { epoch: first }))).toBe('STALE_EPOCH');
    expect(world.refuse(stop)).toBe('STALE_EPOCH');
    const grant: Operation = { type: 'collector.grant', v: 1, sourceId: 1, executorId: 1 };
    const granted = world.accept(grant);
    expect(granted).toMatchObject({ position: 'p1', lastWindow: 1 });
    expect(BigInt(granted['epoch'] as string)).toBeGreaterThan(BigInt(first));
    expect(world.source()).toMatchObject({ problem: 'DB_UNREACHABLE: gone' });
    world.seal();
    expect(world.source()).toMatchObject({ lastWindow: 2, problem: '' });
  });

  it('make a new sink epoch cost every task a new version, once the database is reconciled', () => {
    const world = runningWorld();
    world.seal();
    const task = world.grant({ window: 1, executorId: 1 });
    const granted = world.accept({ type: 'sink.grant', v: 1, sinkId: 1, executorId: 1 });
    const epoch = granted['epoch'] as string;
    expect(world.source().prepare?.done).toBe(true);
    expect(world.refuse(grantOf({ window: 1, executorId: 1, version: 2 }))).toBe('SINK_EPOCH');
    world.accept(reconciled(1, epoch));
    expect(world.grant({ window: 1, executorId: 1, version: 2 }).sinkEpoch).toBe(epoch);
    expect(world.refuse(finishOf(task))).toBe('STALE_VERSION');
  });
});
