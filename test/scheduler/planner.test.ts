import { describe, expect, it } from 'vitest';
import type { Plan } from '../../src/scheduler/planner/types.ts';
import { jobOf, sealOf, World } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { Leader, outcomeOf, startedLeader } from './support/leader.ts';

const causes = (planned: Plan): string[] => planned.operations.map(({ cause }) => cause);
const grants = (planned: Plan) =>
  planned.operations.flatMap(({ operation }) => (operation.type === 'task.grant' ? [operation] : []));

describe('a source', () => {
  it('is prepared, collected and worked on, step by step', () => {
    const leader = new Leader(new World());
    leader.world.accept(jobOf());
    leader.connect(1);
    expect(causes(leader.round())).toEqual(['sink-granted']);
    expect(leader.round().dispatches).toMatchObject([{ kind: 'reconcile', executorId: 1 }]);
    expect(causes(leader.round())).toEqual(['prepare-granted']);
    expect(leader.round().dispatches).toMatchObject([{ kind: 'prepare', executorId: 1 }]);
    expect(leader.round()).toMatchObject({ operations: [], dispatches: [] });
    const token = leader.world.source().prepare?.token ?? '';
    const answer = {
      type: 'prepare-outcome',
      sourceId: 1,
      token,
      copies: [],
      code: '',
      message: '',
    } as const;
    expect(causes(leader.round(answer))).toEqual(['prepare-finished']);
    expect(leader.round(answer)).toMatchObject({ stale: [answer] });
    expect(leader.world.source().collector?.executorId).toBe(1);
    expect(leader.round().dispatches).toMatchObject([{ kind: 'collector', executorId: 1 }]);
    leader.world.seal();
    expect(causes(leader.round())).toEqual(['span-opened', 'first-grant']);
    expect(leader.round().dispatches).toMatchObject([{ kind: 'task', executorId: 1 }]);
    expect(causes(leader.round(outcomeOf(leader.world.task('1/1/1/0'))))).toEqual(['finished']);
    expect(leader.world.windowState(1)).toBe('FINAL');
    leader.settle();
  });

  it('waits when nobody is there: nothing is planned, however often', () => {
    const leader = new Leader(new World());
    leader.world.accept(jobOf());
    for (let i = 0; i < 3; i++) {
      leader.pass(60_000);
      expect(leader.round()).toMatchObject({ operations: [], dispatches: [] });
    }
  });

  it('is prepared again elsewhere after a failure and a delay, and after silence beyond the deadline', () => {
    const leader = new Leader(new World());
    leader.world.accept(jobOf());
    leader.connect(2);
    leader.settle();
    const { token = '', executorId = 0 } = leader.world.source().prepare ?? {};
    const failed = {
      type: 'prepare-outcome',
      sourceId: 1,
      token,
      copies: [],
      code: 'DB_FAILED',
      message: 'x',
    } as const;
    leader.round(failed);
    expect(leader.world.source().problem).toBe('DB_FAILED: x');
    leader.pass(leader.config.sourceRetryBaseMs - 1);
    expect(leader.round().operations).toEqual([]);
    leader.pass(1);
    leader.settle();
    const second = leader.world.source().prepare;
    expect(second?.executorId).not.toBe(executorId);
    leader.pass(leader.config.prepareDeadlineMs);
    leader.settle();
    expect(leader.world.source().prepare?.executorId).toBe(executorId);
    expect(leader.world.source().prepare?.token).not.toBe(second?.token);
  });

  it('sends a prepare again over a new stream, under the same token', () => {
    const leader = new Leader(new World());
    leader.world.accept(jobOf());
    leader.connect(1);
    leader.settle();
    const { prepare } = leader.world.source();
    leader.pass(10);
    leader.hear(1, { connectedSinceMs: leader.nowMs });
    expect(leader.round()).toMatchObject({ operations: [], dispatches: [{ kind: 'prepare' }] });
    expect(leader.world.source().prepare).toEqual(prepare);
  });
});

describe('a report that has lost a dimension copy', () => {
  rule('state.sentUnprepared', 'has nothing sent before its copies were looked after', () => {
    const leader = startedLeader(jobOf(), 2);
    leader.world.seal();
    leader.settle();
    const task = leader.world.task('1/1/1/0');
    const planned = leader.round(outcomeOf(task, { result: 'FAILED', code: 'DIMENSION_LOST', message: 'm' }));
    expect(causes(planned)).toEqual(['copies-lost', 'parked']);
    expect(leader.world.task(task.key)).toMatchObject({ state: 'PARKED', purpose: 'merge' });
    leader.world.seal();
    leader.pass(leader.config.parkCapMs);
    expect(causes(leader.round())).toEqual(['report-granted']);
    const [sent, ...more] = leader.round().dispatches;
    expect([sent?.kind, ...more]).toEqual(['report']);
    const { token = '' } = leader.world.report().change ?? {};
    const copies = [{ reportId: 1, generation: 1, copies: [], lost: false }];
    leader.round({ type: 'prepare-outcome', sourceId: 1, token, copies, code: '', message: '' });
    leader.settle();
    expect(leader.world.task(task.key)).toMatchObject({ state: 'ASSIGNED', version: 2 });
    expect(leader.world.task('1/1/2/0').state).toBe('ASSIGNED');
  });
});

describe('first grants', () => {
  it('go to the least loaded, the oldest windows first, up to the room there is', () => {
    const leader = startedLeader(jobOf(), 2, { slots: 2, config: { spanWindowsMax: 1 } });
    for (let i = 0; i < 20; i++) leader.world.seal();
    const granted = grants(leader.round());
    expect(granted.map(({ firstWindow }) => firstWindow)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(granted.map(({ executorId }) => executorId)).toEqual([1, 2, 1, 2, 1, 2, 1, 2]);
    leader.settle();
    expect(leader.world.state.openTasks.size).toBe(8);
    leader.round(outcomeOf(leader.world.task('1/1/3/0')));
    leader.settle();
    expect(leader.world.task('1/1/9/0').executorId).toBe(leader.world.task('1/1/3/0').executorId);
  });

  it('take turns between sources', () => {
    const leader = startedLeader(jobOf({ shop: ['a'], other: ['b'] }), 1, { slots: 2 });
    for (let i = 0; i < 10; i++) leader.world.seal(1);
    for (let i = 0; i < 10; i++) leader.world.seal(2);
    const granted = grants(leader.round());
    expect(granted.map(({ reportId, firstWindow }) => [reportId, firstWindow])).toEqual([
      [1, 1],
      [2, 1],
      [1, 2],
      [2, 2],
    ]);
  });

  it('go to nobody who is suspect, or whose stream has ended', () => {
    const leader = startedLeader(jobOf(), 3);
    leader.world.seal();
    leader.pass(leader.config.suspectMs, [3]);
    leader.hear(2, { connected: false });
    expect(grants(leader.round()).map(({ executorId }) => executorId)).toEqual([3]);
  });

  it('stop at the bound of open tasks and at the bound of a round', () => {
    const bounds = { tasksOpenMax: 5, operationsPerRoundMax: 3, spanWindowsMax: 1 };
    const leader = startedLeader(jobOf(), 1, { slots: 64, config: bounds });
    for (let i = 0; i < 20; i++) leader.world.seal();
    expect(leader.round().operations).toHaveLength(3);
    leader.settle();
    expect(leader.world.state.openTasks.size).toBe(5);
  });
});

describe('the ladder', () => {
  function failingTask(executors: number) {
    const leader = startedLeader(jobOf(), executors);
    leader.world.seal();
    leader.settle();
    const task = () => leader.world.task('1/1/1/0');
    const fail = (code: 'DB_BUSY' | 'KEY_NULL' = 'DB_BUSY') =>
      leader.round(outcomeOf(task(), { result: 'FAILED', code, message: 'why' }));
    return { leader, task, fail };
  }

  it('goes to another executor, then parks for longer and longer', () => {
    const { leader, task, fail } = failingTask(2);
    const hosts = [task().executorId];
    for (const version of [2, 3]) {
      expect(causes(fail())).toEqual(['failed']);
      expect(task()).toMatchObject({ version, attempts: version - 1, reason: 'DB_BUSY: why' });
      hosts.push(task().executorId);
      leader.settle();
    }
    expect(hosts).toEqual([hosts[0], hosts[1], hosts[0]]);
    expect(hosts[0]).not.toBe(hosts[1]);
    for (const delayMs of [15_000, 30_000, 60_000]) {
      expect(causes(fail())).toEqual(['parked']);
      expect(task()).toMatchObject({ state: 'PARKED', wakeAtMs: leader.world.logTimeMs + delayMs });
      leader.pass(delayMs - 1);
      leader.settle();
      expect(task().state).toBe('PARKED');
      leader.pass(1);
      expect(causes(leader.round())).toEqual(['woken']);
      leader.settle();
    }
    leader.round(outcomeOf(task()));
    expect(task().state).toBe('DONE');
  });

  it('stays with the only executor there is', () => {
    const { task, fail } = failingTask(1);
    expect(causes(fail())).toEqual(['failed']);
    expect(task()).toMatchObject({ executorId: 1, version: 2 });
  });

  it('parks at once when there is nobody to go to', () => {
    const { leader, task, fail } = failingTask(1);
    leader.hear(1, { connected: false });
    expect(causes(fail())).toEqual(['parked']);
    leader.pass(20_000, []);
    expect(grants(leader.round())).toEqual([]);
    expect(task().state).toBe('PARKED');
  });

  it('leads to DEAD for what would fail anywhere: first a retraction, then the hole is committed', () => {
    const { leader, task, fail } = failingTask(2);
    expect(causes(fail('KEY_NULL'))).toEqual(['dead']);
    expect(task()).toMatchObject({ version: 2, purpose: 'DEAD', state: 'ASSIGNED', reason: 'KEY_NULL: why' });
    leader.settle();
    // A retraction that fails climbs the ladder and stays a retraction.
    leader.round(outcomeOf(task(), { result: 'FAILED', code: 'VALUE_RANGE' }));
    expect(task()).toMatchObject({ version: 3, purpose: 'DEAD', reason: 'KEY_NULL: why' });
    leader.settle();
    expect(causes(leader.round(outcomeOf(task(), { result: 'RETRACTED' })))).toEqual(['finished']);
    expect(task().state).toBe('DEAD');
    expect(leader.world.windowState(1)).toBe('MERGED');
    expect(task().hole).toBe(true);
    leader.settle();
  });

  it('keeps an outcome that nobody can act on until an executor is there', () => {
    const { leader, task, fail } = failingTask(1);
    leader.hear(1, { connected: false });
    const planned = fail('KEY_NULL');
    expect(planned.operations).toEqual([]);
    leader.hear(1, { connectedSinceMs: leader.nowMs });
    expect(causes(leader.round(...planned.waiting))).toEqual(['dead']);
    expect(task().purpose).toBe('DEAD');
  });

  it('gives a fenced version a new one, and ends what the sink has folded away', () => {
    const { leader, task } = failingTask(2);
    expect(causes(leader.round(outcomeOf(task(), { result: 'FENCED' })))).toEqual(['fenced']);
    expect(task()).toMatchObject({ version: 2, state: 'ASSIGNED' });
    leader.settle();
    leader.round(outcomeOf(task(), { result: 'FOLDED' }));
    expect(task().state).toBe('CANCELLED');
    expect(task().hole).toBe(true);
  });

  it('drops outcomes of earlier versions, and doubles', () => {
    const { leader, task, fail } = failingTask(2);
    const old = outcomeOf(task());
    fail();
    expect(leader.round(old)).toMatchObject({ operations: [], stale: [old] });
    leader.settle();
    expect(causes(leader.round(outcomeOf(task()), outcomeOf(task())))).toEqual(['finished']);
    expect(leader.round(old)).toMatchObject({ operations: [], stale: [old] });
  });

  it('accepts the late success of a parked version', () => {
    const { leader, task } = failingTask(1);
    leader.world.accept({
      type: 'task.park',
      v: 1,
      key: task().key,
      version: 1,
      delayMs: 60_000,
      reason: 'x',
    });
    leader.round(outcomeOf(task()));
    expect(task().state).toBe('DONE');
  });

  it('leaves half of the free room to new windows when many parked tasks are due', () => {
    const leader = startedLeader(jobOf(), 1, { slots: 4, config: { spanWindowsMax: 1 } });
    for (let i = 0; i < 8; i++) leader.world.seal();
    leader.settle();
    for (const task of [...leader.world.state.openTasks.values()]) {
      const { key, version } = task;
      leader.world.accept({ type: 'task.park', v: 1, key, version, delayMs: 0, reason: 'x' });
    }
    for (let i = 0; i < 8; i++) leader.world.seal();
    const planned = causes(leader.round());
    expect(planned.filter((cause) => cause === 'woken')).toHaveLength(4);
    expect(planned.filter((cause) => cause === 'first-grant')).toHaveLength(4);
  });

  it('moves a task past its deadline to another executor, later each time, and parks it at last', () => {
    const { leader, task } = failingTask(2);
    for (const attempt of [1, 2]) {
      const host = task().executorId;
      leader.pass(leader.config.taskDeadlineMs * attempt - 1);
      expect(leader.round().operations).toEqual([]);
      leader.pass(1);
      const planned = leader.round();
      expect(causes(planned)).toEqual(['hung']);
      expect(planned.operations[0]?.replaces).toMatchObject({ executorId: host, key: task().key });
      expect(task().executorId).not.toBe(host);
      leader.settle();
    }
    leader.pass(leader.config.taskDeadlineMs * 3);
    expect(causes(leader.round())).toEqual(['parked']);
  });

  rule('scheduler.deadlineIgnoresSize', 'gives a task more time the more rows it tells of', () => {
    const { leader, task } = failingTask(2);
    leader.pass(leader.config.taskDeadlineMs - 1);
    leader.hear(task().executorId, { rows: new Map([[task().token, 5_000]]) });
    leader.pass(5 * leader.config.taskThousandRowsMs);
    expect(leader.round().operations).toEqual([]);
    leader.pass(1);
    expect(causes(leader.round())).toEqual(['hung']);
  });

  it("takes a gone executor's tasks over although the others are full: those may wait for its locks", () => {
    const leader = startedLeader(jobOf(), 2, { slots: 2, config: { spanWindowsMax: 1 } });
    for (let i = 0; i < 20; i++) leader.world.seal();
    leader.settle();
    const left = [...leader.world.state.openTasks.values()].filter(({ executorId }) => executorId === 2);
    expect(left).toHaveLength(4);
    leader.round({ type: 'executor-goodbye', executorId: 2 });
    leader.settle();
    for (const { key } of left) expect(leader.world.task(key)).toMatchObject({ executorId: 1, version: 2 });
    // First grants wait until there is room again.
    expect(leader.world.state.openTasks.size).toBe(8);
  });

  it('gives every open task of a sink a new version under its new epoch', () => {
    const { leader, task } = failingTask(2);
    leader.world.reconcile(1);
    expect(causes(leader.round())).toContain('sink-epoch');
    expect(task()).toMatchObject({ version: 2, attempts: 0 });
  });

  it('makes the hole of a dead or parked task permanent when its retention is over', () => {
    const { leader, task, fail } = failingTask(2);
    leader.world.seal();
    leader.settle();
    fail('KEY_NULL');
    leader.settle();
    leader.round(outcomeOf(task(), { result: 'RETRACTED' }));
    leader.world.accept({
      type: 'task.park',
      v: 1,
      key: '1/1/2/0',
      version: 1,
      delayMs: leader.config.holeRetentionMs,
      reason: 'DB_BUSY',
    });
    leader.pass(leader.config.holeRetentionMs - 1);
    leader.settle();
    expect(leader.world.windowState(1)).toBe('MERGED');
    leader.pass(1);
    expect(causes(leader.round())).toEqual(['woken', 'skipped']);
    expect(task()).toMatchObject({ state: 'SKIPPED', hole: true });
    expect(leader.world.windowState(1)).toBe('FINAL');
    leader.settle();
    const parked = leader.world.task('1/1/2/0');
    expect(parked).toMatchObject({ purpose: 'SKIPPED', version: 2 });
    leader.round(outcomeOf(parked, { result: 'RETRACTED' }));
    expect(leader.world.windowState(2)).toBe('FINAL');
    expect(leader.world.report()).toMatchObject({ finalWindow: 2, holes: 2 });
  });

  rule('state.dueAgainIsOld', 'gives a task that is due again the whole retention again', () => {
    const { leader, task } = failingTask(2);
    leader.round(outcomeOf(task()));
    expect(task().state).toBe('DONE');
    leader.pass(leader.config.holeRetentionMs);
    leader.world.reconcile(1, 1, [task().key]);
    leader.settle();
    expect(task()).toMatchObject({ state: 'ASSIGNED', purpose: 'merge', version: 2 });
  });

  rule('state.eachVersionHeldAnew', 'counts the retention from the first of all versions', () => {
    const { leader, task, fail } = failingTask(2);
    leader.pass(leader.config.holeRetentionMs / 2);
    fail('DB_BUSY');
    expect(task()).toMatchObject({ state: 'ASSIGNED', version: 2 });
    leader.pass(leader.config.holeRetentionMs / 2);
    fail('DB_BUSY');
    fail('DB_BUSY');
    expect(task().state).toBe('PARKED');
    leader.pass(leader.config.parkBaseMs);
    leader.settle();
    expect(task()).toMatchObject({ state: 'ASSIGNED', purpose: 'SKIPPED' });
  });

  it('lets a report go that waited for its row states or was paused longer than the retention', () => {
    const leader = startedLeader(jobOf(), 1);
    leader.world.seal();
    leader.pass(leader.config.holeRetentionMs);
    leader.settle();
    const { key, version } = leader.world.task('1/1/1/0');
    const delayMs = leader.config.parkBaseMs;
    leader.world.accept({ type: 'task.park', v: 1, key, version, delayMs, reason: 'DB_BUSY' });
    leader.pass(delayMs);
    leader.settle();
    expect(leader.world.task(key)).toMatchObject({ state: 'ASSIGNED', purpose: 'merge' });
  });

  it('skips an old dead task though a young one of another source has an earlier window', () => {
    const leader = startedLeader(jobOf({ shop: ['a'], depot: ['b'] }), 2);
    const die = (key: string): void => {
      leader.settle();
      leader.round(outcomeOf(leader.world.task(key), { result: 'FAILED', code: 'KEY_NULL', message: 'why' }));
      leader.settle();
      leader.round(outcomeOf(leader.world.task(key), { result: 'RETRACTED' }));
      expect(leader.world.task(key).state).toBe('DEAD');
    };
    leader.world.seal(2);
    leader.world.seal(2);
    die('2/1/2/0');
    leader.pass(leader.config.holeRetentionMs - 1);
    leader.world.seal(1);
    die('1/1/1/0');
    leader.pass(1);
    leader.settle();
    expect(leader.world.task('2/1/2/0').state).toBe('SKIPPED');
    expect(leader.world.task('1/1/1/0').state).toBe('DEAD');
  });

  it('keeps the outcomes that are beyond the bound of a round for the next', () => {
    const leader = startedLeader(jobOf({ shop: ['a', 'b', 'c'] }), 2, {
      config: { operationsPerRoundMax: 2 },
    });
    leader.world.seal();
    leader.settle();
    const outcomes = [...leader.world.state.openTasks.values()].map((task) => outcomeOf(task));
    const planned = leader.round(...outcomes);
    expect(planned.operations).toHaveLength(2);
    expect(planned.waiting).toEqual(outcomes.slice(2));
    leader.round(...planned.waiting);
    expect(leader.world.windowState(1)).toBe('FINAL');
  });
});

describe('spans', () => {
  const spans = (planned: Plan) =>
    planned.operations.flatMap(({ operation }) =>
      operation.type === 'span.open'
        ? [[operation.reportId, operation.firstWindow, operation.lastWindow]]
        : [],
    );

  it('are one window each while a report keeps up', () => {
    const leader = startedLeader(jobOf(), 1);
    for (let window = 1; window <= 3; window++) {
      leader.world.seal();
      expect(spans(leader.round())).toEqual([[1, window, window]]);
      leader.settle();
      leader.round(outcomeOf(leader.world.task(`1/1/${window}/0`)));
    }
  });

  it('grow with what waits, after the snapshot alone, up to the bound', () => {
    const leader = startedLeader(jobOf(), 1, { slots: 1 });
    for (let i = 0; i < 100; i++) leader.world.seal();
    expect(spans(leader.round())).toEqual([
      [1, 1, 1],
      [1, 2, 33],
    ]);
    for (let window = 1; window <= 50; window++) leader.settle();
    leader.round(outcomeOf(leader.world.task('1/1/1/0')), outcomeOf(leader.world.task('1/1/2/0')));
    leader.settle();
    expect([...leader.world.state.spans.values()].slice(2)).toMatchObject([
      { firstWindow: 34, lastWindow: 65 },
      { firstWindow: 66, lastWindow: 97 },
    ]);
  });

  it('end where their rows are many, and where windows are not alike', () => {
    const leader = startedLeader(jobOf(), 4, { slots: 4 });
    const { world } = leader;
    const many = [{ shard: 's1', rows: 40_000, checksum: '00' }];
    for (let window = 1; window <= 8; window++) {
      const copied = { cursor: window === 7 ? 'k' : '' };
      world.accept(sealOf(world.source(), window, 1 < window && window < 7 ? { shards: many } : copied));
    }
    for (let window = 9; window <= 11; window++) {
      world.accept(sealOf(world.source(), window, { schemaVersions: [{ table: 'orders', version: 2 }] }));
    }
    expect(spans(leader.round())).toEqual([
      [1, 1, 1],
      [1, 2, 3],
      [1, 4, 5],
      ...[6, 7, 8].map((window) => [1, window, window]),
      [1, 9, 10],
      [1, 11, 11],
    ]);
  });

  it('of a report with work under way come after those of the others', () => {
    const leader = startedLeader(jobOf({ shop: ['slow', 'quick'] }), 1, { slots: 1 });
    leader.world.seal();
    leader.settle();
    leader.round(outcomeOf(leader.world.task('2/1/1/0')));
    for (let i = 0; i < 4; i++) leader.world.seal();
    expect(spans(leader.round())).toEqual([[2, 2, 5]]);
  });
});
