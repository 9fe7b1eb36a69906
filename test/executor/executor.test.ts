import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { armFailpoint, onFailpointHit, releaseFailpoint } from '../../src/base/test-build-active.ts';
import { Executor } from '../../src/executor/executor.ts';
import type { CompiledJob } from '../../src/job/index.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import {
  insecureCredentials,
  TaskResult,
  type HousekeepingOutcome,
  type SealedWindow,
  type Task,
  type TaskOutcome,
} from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { FakeLeader } from './fake-leader.ts';
import {
  define,
  jobYaml,
  makeShop,
  prepareOrder,
  reconcileOrder,
  taskOf,
  token,
  type Place,
} from './shop.ts';

const silent = { info: () => undefined, warn: () => undefined };

/** One executor, one fake leader, and the shop's three databases. */
class World {
  readonly place: Place;
  readonly leader: FakeLeader;
  readonly executor: Executor;
  readonly source: SqlEngine;
  readonly reports: SqlEngine;
  readonly #closers: (() => Promise<void> | void)[];
  /** Tokens and versions grow from test to test. */
  #grants = 10;
  #snapshot: SealedWindow | undefined;

  private constructor(place: Place, leader: FakeLeader, urls: Record<string, string>, folder: string) {
    this.place = place;
    this.leader = leader;
    const open = (name: string): SqlEngine => {
      const url = urls[`${name.toUpperCase()}_URL`];
      return openEngine(
        url === undefined ? { kind: 'embedded', file: join(folder, `${name}.db`) } : { kind: 'mysql', url },
      );
    };
    this.source = open('source');
    this.reports = open('reports');
    this.executor = new Executor({
      name: 'e1',
      coordinators: [leader.address],
      channelCredentials: insecureCredentials().client.channel,
      slots: 2,
      version: 'test',
      engines: ['mysql', 'embedded'],
      databases: { env: urls, baseFolder: folder },
      log: silent,
    });
    this.#closers = [() => this.source.close(), () => this.reports.close()];
  }

  static async make(place: Place): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-executor-'));
    const databases: FreshDatabase[] = [];
    const urls: Record<string, string> = {};
    if (place === 'mysql') {
      for (const name of ['source', 'store', 'reports']) {
        const database = await freshDatabase(name);
        databases.push(database);
        urls[`${name.toUpperCase()}_URL`] = database.url;
      }
    }
    const world = new World(place, await FakeLeader.start(), urls, folder);
    world.#closers.push(
      async () => {
        for (const database of databases) await database.drop();
      },
      () => rm(folder, { recursive: true, force: true }),
    );
    await makeShop(world.source);
    world.executor.start();
    await world.leader.hears('heartbeat');
    return world;
  }

  async close(): Promise<void> {
    await this.executor.stop();
    this.leader.stop();
    for (const close of this.#closers) await close();
  }

  /** Validates the job, defines it, and has it prepared. */
  async prepare(edit: (compiled: string) => string = (compiled) => compiled): Promise<void> {
    this.leader.say({ $case: 'validate', value: { request: 1n, jobYaml: jobYaml(this.place) } });
    const outcome = await this.leader.hears('validate');
    expect(outcome.errorMessage).toBe('');
    const job = JSON.parse(edit(outcome.compiledJson)) as CompiledJob;
    define(this.leader, job);
    this.leader.say({ $case: 'reconcile', value: reconcileOrder });
    await this.leader.hears('sinkFound', ({ last }) => last);
    this.leader.say({ $case: 'prepare', value: prepareOrder });
    expect(await this.leader.hears('prepare')).toMatchObject({
      errorCode: '',
      token: token(1),
      copies: [{ report: 'report/1/1', prepared: token(1), dimensions: [{ table: 'merchants', rows: 2n }] }],
    });
  }

  /** Starts a collector under a new epoch, from the very beginning; returns the epoch. */
  startCollector(epoch = this.#grant()): bigint {
    this.leader.say({
      $case: 'startCollector',
      value: {
        sourceId: 1n,
        epoch,
        leaderTerm: 3n,
        lastWindow: 0n,
        position: '',
        cursor: '',
        resnapshot: false,
        topologyVersion: 1,
        lost: [],
      },
    });
    return epoch;
  }

  #grant(): bigint {
    this.#grants += 1;
    return token(this.#grants);
  }

  stopCollector(epoch: bigint): void {
    this.leader.say({ $case: 'stopCollector', value: { sourceId: 1n, epoch } });
  }

  /** The initial snapshot, sealed; captured once for all tests. */
  async snapshot(): Promise<SealedWindow> {
    if (this.#snapshot !== undefined) return this.#snapshot;
    const epoch = this.startCollector();
    const { request, window } = await this.leader.hears('seal', (seal) => seal.window?.window === 1n);
    this.reply(request, '');
    this.stopCollector(epoch);
    await eventually(() => this.executor.hostedCollectors === 0, { withinMs: 5_000 });
    if (window === undefined) throw new Error('a seal without a window');
    this.#snapshot = window;
    return window;
  }

  reply(request: bigint, errorCode: string): void {
    const value = { request, sourceId: 1n, errorCode, errorMessage: errorCode };
    this.leader.say({ $case: 'sealReply', value });
  }

  /** Dispatches the next version of the window's task and returns it. */
  dispatch(window: SealedWindow, more: Partial<Task> = {}): Task {
    this.#grants += 1;
    const task = taskOf(window, this.#grants, more);
    this.leader.say({ $case: 'dispatch', value: { tasks: [task] } });
    return task;
  }

  outcome(task: Task, count = 1): Promise<TaskOutcome> {
    return this.leader.hears('task', ({ version }) => version === task.version, count);
  }

  async report(): Promise<readonly (readonly SqlValue[])[]> {
    const { rows } = await this.reports.use('test', (connection) =>
      connection.query('SELECT country, orders, revenue, largest FROM by_country ORDER BY country'),
    );
    return rows;
  }

  watermark(): Promise<SqlValue | undefined> {
    return this.one('SELECT last_window FROM tm_watermark');
  }

  /** The one value of a query on the report database. */
  async one(sql: string): Promise<SqlValue | undefined> {
    const { rows } = await this.reports.use('test', (connection) => connection.query(sql));
    return rows[0]?.[0];
  }
}

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
      expect(await world.outcome(world.dispatch(window))).toMatchObject({
        result: TaskResult.TASK_RESULT_FAILED,
        errorCode: 'WINDOW_INCOMPLETE',
      });
    });

    it('refuses a job whose SQL the database refuses, without effect', async () => {
      const wrong = jobYaml(place).replace('o.cents AS revenue', 'o.nothing AS revenue');
      world.leader.say({ $case: 'validate', value: { request: 9n, jobYaml: wrong } });
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
