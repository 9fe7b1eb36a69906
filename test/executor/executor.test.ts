import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { armFailpoint, onFailpointHit, releaseFailpoint } from '../../src/base/test-build-active.ts';
import { Executor } from '../../src/executor/executor.ts';
import type { CompiledJob } from '../../src/job/index.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import { insecureCredentials, TaskResult, type SealedWindow } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { FakeLeader } from './fake-leader.ts';
import { define, jobYaml, makeShop, prepareOrder, taskOf, token, type Place } from './shop.ts';

const silent = { info: () => undefined, warn: () => undefined };

/** One executor, one fake leader, and the shop's three databases. */
class World {
  readonly place: Place;
  readonly leader: FakeLeader;
  readonly executor: Executor;
  readonly source: SqlEngine;
  readonly reports: SqlEngine;
  readonly #closers: (() => Promise<void> | void)[];

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
  async prepare(): Promise<CompiledJob> {
    this.leader.say({ $case: 'validate', value: { request: 1n, jobYaml: jobYaml(this.place) } });
    const outcome = await this.leader.hears('validate');
    expect(outcome.errorMessage).toBe('');
    const job = JSON.parse(outcome.compiledJson) as CompiledJob;
    define(this.leader, job);
    this.leader.say({ $case: 'prepare', value: prepareOrder });
    expect(await this.leader.hears('prepare')).toMatchObject({
      errorCode: '',
      token: token(1),
      dimensions: [{ table: 'merchants', rows: 2n }],
    });
    return job;
  }

  /** Starts the collector and accepts its seals from now on. */
  async collect(): Promise<void> {
    this.leader.say({
      $case: 'startCollector',
      value: {
        sourceId: 1n,
        epoch: token(3),
        leaderTerm: 3n,
        lastWindow: 0n,
        position: '',
        topologyVersion: 1,
      },
    });
    await this.sealed(1n);
  }

  /** Waits for a window's seal and answers it. */
  async sealed(window: bigint): Promise<SealedWindow> {
    const request = await this.leader.hears('seal', (seal) => seal.window?.window === window);
    this.leader.say({
      $case: 'sealReply',
      value: { request: request.request, sourceId: 1n, errorCode: '', errorMessage: '' },
    });
    if (request.window === undefined) throw new Error('a seal without a window');
    return request.window;
  }

  async report(): Promise<readonly (readonly SqlValue[])[]> {
    const { rows } = await this.reports.use('test', (connection) =>
      connection.query('SELECT country, orders, revenue, largest FROM by_country ORDER BY country'),
    );
    return rows.map((row) => row.map((value) => (typeof value === 'string' ? value : value)));
  }

  async watermark(): Promise<SqlValue | undefined> {
    const { rows } = await this.reports.use('test', (connection) =>
      connection.query('SELECT last_window FROM tm_watermark'),
    );
    return rows[0]?.[0];
  }
}

const places: readonly Place[] = ['embedded', 'mysql'];

describe.each(places)('an executor on %s', (place) => {
  describe.skipIf(place === 'mysql' && mariadbMissing())('with a leader', () => {
    let world: World;

    beforeEach(async () => {
      world = await World.make(place);
    });

    afterEach(async () => {
      await world.close();
    });

    it('takes a row from the source to a report cell, and replaces what an earlier version added', async () => {
      await world.prepare();
      await world.collect();
      const window = await world.sealed(1n);
      world.leader.say({ $case: 'dispatch', value: { tasks: [taskOf(window, 1)] } });
      expect(await world.leader.hears('task')).toMatchObject({
        result: TaskResult.TASK_RESULT_DONE,
        token: token(101),
        rowsIn: 3n,
        replaced: false,
      });
      const expected = [
        ['DE', 2n, 350n, 250n],
        ['FR', 1n, 70n, 70n],
      ];
      expect(await world.report()).toEqual(expected);
      expect(await world.watermark()).toBe(1n);

      world.leader.say({ $case: 'dispatch', value: { tasks: [taskOf(window, 2)] } });
      expect(await world.leader.hears('task', (task) => task.version === 2)).toMatchObject({
        result: TaskResult.TASK_RESULT_DONE,
        replaced: true,
      });
      expect(await world.report()).toEqual(expected);
    });

    it('fences a version that was held between compute and merge until the next one had merged', async () => {
      await world.prepare();
      await world.collect();
      const window = await world.sealed(1n);
      const held = new Promise<void>((resolve) => {
        const stop = onFailpointHit((hit) => {
          if (hit.name !== 'executor.afterCompute') return;
          stop();
          resolve();
        });
      });
      armFailpoint({ name: 'executor.afterCompute', action: 'pause', match: { token: String(token(101)) } });
      world.leader.say({ $case: 'dispatch', value: { tasks: [taskOf(window, 1)] } });
      await held;
      const second = taskOf(window, 2, { superseded: [token(101)] });
      world.leader.say({ $case: 'dispatch', value: { tasks: [second] } });
      await world.leader.hears('task', (task) => task.version === 2);
      releaseFailpoint('executor.afterCompute');
      expect(await world.leader.hears('task', (task) => task.version === 1)).toMatchObject({
        result: TaskResult.TASK_RESULT_FENCED,
      });
      expect(await world.report()).toHaveLength(2);
    });

    it('retracts a task, and tells again what a new stream may not have heard', async () => {
      await world.prepare();
      await world.collect();
      const window = await world.sealed(1n);
      world.leader.say({ $case: 'dispatch', value: { tasks: [taskOf(window, 1)] } });
      await world.leader.hears('task');
      const retraction = taskOf(window, 2, { kind: 2, reason: 'KEY_NULL' });
      world.leader.say({ $case: 'dispatch', value: { tasks: [retraction] } });
      const retracted = { result: TaskResult.TASK_RESULT_RETRACTED, version: 2 };
      expect(await world.leader.hears('task', (task) => task.version === 2)).toMatchObject(retracted);
      expect(await world.report()).toEqual([]);

      world.leader.drop();
      await world.leader.hears('hello', () => true, 2);
      expect(await world.leader.hears('task', (task) => task.version === 2, 2)).toMatchObject(retracted);
      // A dispatch of the same grant by a leader that has not heard the outcome gets it at once.
      world.leader.say({ $case: 'dispatch', value: { tasks: [retraction] } });
      await world.leader.hears('task', (task) => task.version === 2, 3);
    });

    it('fails a task with a code when the store does not show the whole window', async () => {
      await world.prepare();
      await world.collect();
      const window = await world.sealed(1n);
      const shards = window.shards.map((shard) => ({ ...shard, rows: shard.rows + 1n }));
      world.leader.say({ $case: 'dispatch', value: { tasks: [taskOf({ ...window, shards }, 1)] } });
      expect(await world.leader.hears('task')).toMatchObject({
        result: TaskResult.TASK_RESULT_FAILED,
        errorCode: 'WINDOW_INCOMPLETE',
      });
      expect(await world.report()).toEqual([]);
    });

    it('asks for a seal again after a reconnect, and hosts the collector meanwhile', async () => {
      await world.prepare();
      world.leader.say({
        $case: 'startCollector',
        value: {
          sourceId: 1n,
          epoch: token(3),
          leaderTerm: 3n,
          lastWindow: 0n,
          position: '',
          topologyVersion: 1,
        },
      });
      const first = await world.leader.hears('seal');
      world.leader.drop();
      const hello = await world.leader.hears('hello', () => true, 2);
      expect(hello.collectors).toEqual([{ sourceId: 1n, epoch: token(3) }]);
      expect(await world.leader.hears('seal', () => true, 2)).toEqual(first);
    });

    it('ends a collector whose seal is refused, and says so', async () => {
      await world.prepare();
      world.leader.say({
        $case: 'startCollector',
        value: {
          sourceId: 1n,
          epoch: token(3),
          leaderTerm: 3n,
          lastWindow: 0n,
          position: '',
          topologyVersion: 1,
        },
      });
      const { request } = await world.leader.hears('seal');
      world.leader.say({
        $case: 'sealReply',
        value: {
          request,
          sourceId: 1n,
          errorCode: 'STALE_EPOCH',
          errorMessage: 'a newer collector was granted',
        },
      });
      expect(await world.leader.hears('collectorStopped')).toMatchObject({
        epoch: token(3),
        errorCode: 'STALE_EPOCH',
      });
      await eventually(() => world.executor.hostedCollectors === 0, { withinMs: 5_000 });
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
