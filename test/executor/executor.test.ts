import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { armFailpoint, onFailpointHit, releaseFailpoint } from '../../src/base/test-build-active.ts';
import { changeTable } from '../../src/job/index.ts';
import type { SqlValue } from '../../src/sql/index.ts';
import { TaskResult, type HousekeepingOutcome } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { World } from './executor-world.ts';
import { jobYaml, token, type Place } from './shop.ts';

const places: readonly Place[] = ['embedded', 'mysql'];

describe.each(places)('an executor on %s', (place) => {
  describe.skipIf(place === 'mysql' && mariadbMissing())('with a leader', () => {
    let world: World;

    beforeAll(async () => {
      world = await World.make(place);
      await world.prepare();
    });

    afterAll(async () => {
      await world.close();
    });

    beforeEach(() => {
      world.leader.heard.length = 0;
    });

    it('takes a row from the source to a report cell, and replaces what was added', async () => {
      const window = await world.snapshot();
      const first = world.dispatch(window);
      expect(await world.outcome(first)).toMatchObject({
        result: TaskResult.TASK_RESULT_DONE,
        token: first.token,
        rowsIn: 3n,
        replaced: false,
      });
      const expected = [
        ['DE', 2n, 350n, 250n],
        ['FR', 1n, 70n, 70n],
      ];
      expect(await world.report()).toEqual(expected);
      expect(await world.watermark()).toBe(1n);

      expect(await world.outcome(world.dispatch(window))).toMatchObject({
        result: TaskResult.TASK_RESULT_DONE,
        replaced: true,
      });
      expect(await world.report()).toEqual(expected);
    });

    it('fences a version that was held between compute and merge until the next one had merged', async () => {
      const window = await world.snapshot();
      const held = new Promise<void>((resolve) => {
        const stop = onFailpointHit((hit) => {
          if (hit.name !== 'executor.afterCompute') return;
          stop();
          resolve();
        });
      });
      armFailpoint({ name: 'executor.afterCompute', action: 'pause' });
      const first = world.dispatch(window);
      await held;
      const second = world.dispatch(window, { superseded: [first.token] });
      await world.outcome(second);
      releaseFailpoint('executor.afterCompute');
      expect(await world.outcome(first)).toMatchObject({ result: TaskResult.TASK_RESULT_FENCED });
      expect(await world.report()).toHaveLength(2);
    });

    it('retracts a task, and tells again what a new stream may not have heard', async () => {
      const window = await world.snapshot();
      await world.outcome(world.dispatch(window));
      const retraction = world.dispatch(window, { kind: 2, reason: 'KEY_NULL' });
      const retracted = { result: TaskResult.TASK_RESULT_RETRACTED };
      expect(await world.outcome(retraction)).toMatchObject(retracted);
      expect(await world.report()).toEqual([]);

      world.leader.drop();
      await world.leader.hears('hello');
      expect(await world.outcome(retraction, 2)).toMatchObject(retracted);
      // A dispatch of the same grant by a leader that has not heard the outcome gets it at once.
      world.leader.say({ $case: 'dispatch', value: { tasks: [retraction] } });
      await world.outcome(retraction, 3);
    });

    rule('executor.lostCopyIsDead', 'tells a lost dimension copy from a table that never was', async () => {
      const window = await world.snapshot();
      const task = world.dispatch(window, { prepared: token(9) });
      expect(await world.outcome(task)).toMatchObject({ errorCode: 'DIMENSION_LOST' });
    });

    it('fails a task with a code when the store does not show the whole window', async () => {
      const window = await world.snapshot();
      const wrongRows = window.shards.map((shard) => ({ ...shard, rows: shard.rows + 1n }));
      const wrongSum = window.shards.map((shard) => ({ ...shard, checksum: '0'.repeat(16) }));
      const before = await world.report();
      for (const shards of [wrongRows, wrongSum]) {
        expect(await world.outcome(world.dispatch({ ...window, shards }))).toMatchObject({
          result: TaskResult.TASK_RESULT_FAILED,
          errorCode: 'WINDOW_INCOMPLETE',
        });
      }
      expect(await world.report()).toEqual(before);
    });

    it('asks for a seal again after a reconnect, and hosts the collector meanwhile', async () => {
      const epoch = world.startCollector();
      const first = await world.leader.hears('seal');
      world.leader.drop();
      const hello = await world.leader.hears('hello');
      expect(hello.collectors).toEqual([{ sourceId: 1n, epoch }]);
      expect(await world.leader.hears('seal', () => true, 2)).toEqual(first);
      world.stopCollector(epoch);
      await eventually(() => world.executor.hostedCollectors === 0, { withinMs: 5_000 });
    });

    it('repeats a seal whose answer is unknown, and ends the collector when it is refused', async () => {
      const epoch = world.startCollector();
      const { request } = await world.leader.hears('seal');
      world.reply(request, 'OUTCOME_UNKNOWN');
      await world.leader.hears('seal', (seal) => seal.request === request, 2);
      world.reply(request, 'STALE_EPOCH');
      expect(await world.leader.hears('collectorStopped')).toMatchObject({ epoch, errorCode: 'STALE_EPOCH' });
      // Its rows must not be written twice: a leader that starts it again hears the same once more.
      world.startCollector(epoch);
      expect(await world.leader.hears('collectorStopped', () => true, 2)).toMatchObject({ epoch });
      await eventually(() => world.executor.hostedCollectors === 0, { withinMs: 5_000 });
    });

    it('folds a report and drops history; what it has done is told again, not done again', async () => {
      const window = await world.snapshot();
      expect(await world.outcome(world.dispatch(window))).toMatchObject({
        result: TaskResult.TASK_RESULT_DONE,
      });
      const before = await world.report();
      const grant = { leaderTerm: 3n, sourceId: 1n, superseded: [] };
      const fold = {
        ...{ ...grant, token: token(9_001), reportId: 1n, generation: 1n, sinkId: 1n, sinkEpoch: token(2) },
        ends: [{ window: 1n, seal: window.epoch }],
      };
      const heard = (of: bigint, count = 1): Promise<HousekeepingOutcome> =>
        world.leader.hears('housekeeping', (said) => said.token === of, count);
      world.leader.say({ $case: 'fold', value: fold });
      expect(await heard(fold.token)).toMatchObject({ window: 1n, errorCode: '' });
      expect(await world.one('SELECT COUNT(*) FROM tm_ledger')).toBe(0n);
      expect(await world.report()).toEqual(before);
      world.leader.say({ $case: 'fold', value: fold });
      await heard(fold.token, 2);
      const late = { ...fold, token: token(9_002), sinkEpoch: token(3) };
      world.leader.say({ $case: 'fold', value: late });
      expect(await heard(late.token)).toMatchObject({ window: 0n, errorCode: 'SINK_EPOCH' });
      const drop = { ...grant, token: token(9_003), topologyVersion: 1, window: 1n };
      world.leader.say({ $case: 'dropHistory', value: drop });
      expect(await heard(drop.token)).toMatchObject({ window: 1n, errorCode: '' });
      const rows = `SELECT COUNT(*) FROM ${changeTable({ sourceId: 1, table: 'orders', schemaVersion: 1 })}`;
      const left = await world.store.use('test', (connection) => connection.query(rows));
      expect(left.rows).toEqual([[0n]]);
    });

    it('refuses a job whose SQL the database refuses, without effect', async () => {
      const wrong = jobYaml(place).replace('o.cents AS revenue', 'o.nothing AS revenue');
      world.leader.say({
        $case: 'validate',
        value: { request: 9n, jobYaml: wrong, knownSources: [], knownReports: [] },
      });
      const outcome = await world.leader.hears('validate');
      expect(outcome).toMatchObject({ request: 9n, errorCode: 'SQL_INVALID', compiledJson: '' });
      expect(outcome.errorMessage).toContain('by_country');
    });
  });
});

describe.skipIf(mariadbMissing())('a cancelled task on MariaDB', () => {
  it('leaves no query behind in the process list', async () => {
    const world = await World.make('mysql');
    const running = (): Promise<SqlValue | undefined> =>
      world.one(
        'SELECT COUNT(*) FROM information_schema.processlist ' +
          "WHERE info LIKE '%SLEEP(20)%' AND id <> CONNECTION_ID()",
      );
    try {
      await world.prepare((job) => job.replace('o.cents AS largest', 'o.cents + SLEEP(20) AS largest'));
      const task = world.dispatch(await world.snapshot());
      await eventually(async () => (await running()) === 1n, {
        withinMs: 10_000,
        what: 'the query at the server',
      });
      world.leader.say({ $case: 'cancel', value: { task: task.task, token: task.token } });
      expect(await world.outcome(task)).toMatchObject({ errorCode: 'CANCELLED' });
      expect(await running()).toBe(0n);
    } finally {
      await world.close();
    }
  });
});
