import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Executor } from '../../src/executor/executor.ts';
import type { CompiledJob } from '../../src/job/index.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import {
  insecureCredentials,
  reportDefinition,
  type SealedWindow,
  type Task,
  type TaskOutcome,
} from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, type FreshDatabase } from '../support/mariadb.ts';
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
export class World {
  readonly place: Place;
  readonly leader: FakeLeader;
  readonly executor: Executor;
  readonly source: SqlEngine;
  readonly store: SqlEngine;
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
    this.store = open('store');
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
    this.#closers = [this.source, this.store, this.reports].map((engine) => () => engine.close());
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
    this.leader.say({
      $case: 'validate',
      value: { request: 1n, jobYaml: jobYaml(this.place), knownSources: [], knownReports: [] },
    });
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
      copies: [
        {
          report: reportDefinition(1, 1),
          prepared: token(1),
          dimensions: [{ table: 'merchants', rows: 2n }],
        },
      ],
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
        formerTables: 0,
        topologyVersion: 1,
        lost: [],
        formerChains: [],
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
