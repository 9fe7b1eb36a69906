/**
 * Evidence rule 12: cancelled means gone. Work that hangs on a lock of a real server ends at once when it is
 * cancelled, its statement leaves the process list, and what an executor that hangs has left is killed by
 * whoever takes its work over.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import { killMarked, markerName } from '../../src/executor/marker.ts';
import type { CompiledJob } from '../../src/job/index.ts';
import type { SqlConnection, SqlEngine } from '../../src/sql/index.ts';
import { reportDefinition, type FoldReport, type SealedWindow } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { World } from './executor-world.ts';
import { CLUSTER } from './fake-leader.ts';
import { prepareOrder, token } from './shop.ts';

describe.skipIf(mariadbMissing())('work on MariaDB', () => {
  let world: World;
  let job: CompiledJob;
  let window: SealedWindow;
  let tokens = 5_000;

  beforeAll(async () => {
    world = await World.make('mysql');
    await world.prepare((json) => {
      job = JSON.parse(json) as CompiledJob;
      return json;
    });
    window = await world.snapshot();
    await world.outcome(world.dispatch(window));
  });

  afterAll(async () => {
    await world.close();
  });

  beforeEach(() => {
    world.leader.heard.length = 0;
  });

  /** Defines the job's report as one more, and answers what that is called. */
  function defineAs(reportId: number): string {
    const id = reportDefinition(reportId, 1);
    const report = { ...must(job.reports[0], 'report'), name: `by_country_${reportId}` };
    world.leader.say({
      $case: 'definitions',
      value: { definitions: [{ id, json: JSON.stringify(report) }] },
    });
    return id;
  }

  const next = (): bigint => token((tokens += 1));

  function fold(superseded: readonly bigint[] = []): FoldReport {
    const of = {
      leaderTerm: 3n,
      reportId: 1n,
      generation: 1n,
      sourceId: 1n,
      sinkId: 1n,
      sinkEpoch: token(2),
    };
    const order = { ...of, token: next(), ends: [{ window: 1n, seal: window.epoch }] };
    const value = { ...order, superseded: [...superseded] };
    world.leader.say({ $case: 'fold', value });
    return value;
  }

  /** Holds rows of a table, on a connection that carries the mark of a grant, while `body` runs. */
  async function holding(
    engine: SqlEngine,
    table: string,
    owner: bigint,
    body: () => Promise<void>,
  ): Promise<void> {
    const connection = await engine.connect({ purpose: 'hold' });
    try {
      await connection.query('SELECT GET_LOCK(?, 0)', [markerName(CLUSTER, owner)]);
      await connection.begin('write');
      await connection.query(`SELECT * FROM ${table} FOR UPDATE`);
      await body();
    } finally {
      await letGo(engine, connection, owner);
    }
  }

  /** It may have been killed: that is what some of these tests are about. */
  async function letGo(engine: SqlEngine, connection: SqlConnection, owner: bigint): Promise<void> {
    connection.destroy();
    await killMarked(engine, [markerName(CLUSTER, owner)]);
  }

  async function waitingFor(engine: SqlEngine, table: string): Promise<number> {
    const { rows } = await engine.use('test', (connection) =>
      connection.query(
        'SELECT COUNT(*) FROM information_schema.processlist ' +
          'WHERE db = DATABASE() AND info LIKE ? AND id <> CONNECTION_ID()',
        [`%${table}%`],
      ),
    );
    return Number(rows[0]?.[0]);
  }

  /** Runs until the server shows a statement that waits, cancels it, and waits until it is gone. */
  async function cancelled(engine: SqlEngine, table: string, begin: () => () => void): Promise<void> {
    await holding(engine, table, next(), async () => {
      const cancel = begin();
      const shown = { withinMs: 10_000, what: 'a statement that waits' };
      await eventually(async () => (await waitingFor(engine, table)) > 0, shown);
      cancel();
      const gone = { withinMs: 1_500, what: 'an empty process list' };
      await eventually(async () => (await waitingFor(engine, table)) === 0, gone);
    });
  }

  const cancelChore = (of: bigint) => (): void => {
    world.leader.say({ $case: 'cancelChore', value: { token: of } });
  };

  rule('executor.choreNotCancelled', 'a fold that hangs is gone when it is cancelled', async () => {
    let order = 0n;
    await cancelled(world.reports, 'tm_fold', () => cancelChore((order = fold().token)));
    const told = await world.leader.hears('housekeeping', (said) => said.token === order);
    expect(told).toMatchObject({ errorCode: 'CANCELLED' });
  });

  it('a fold that hangs gives way to the next one here, at once', async () => {
    let newer = 0n;
    await holding(world.reports, 'tm_fold', next(), async () => {
      const older = fold();
      await eventually(async () => (await waitingFor(world.reports, 'tm_fold')) > 0, { withinMs: 10_000 });
      newer = fold([older.token]).token;
      await world.leader.hears('housekeeping', (said) => said.token === older.token);
    });
    await world.leader.hears('housekeeping', (said) => said.token === newer);
    // It sweeps after its answer, and would be seen to wait in the next test.
    cancelChore(newer)();
  });

  it('a prepare that hangs is gone when it is cancelled', async () => {
    await cancelled(world.reports, 'tm_sink', () => {
      const order = { ...prepareOrder, token: next() };
      world.leader.say({ $case: 'prepare', value: order });
      return cancelChore(order.token);
    });
  });

  rule('executor.prepareEndsOthers', 'reports that are added together are prepared together', async () => {
    // Reports of their own: of two that prepare the same one, that with the newer token would be right.
    const orders = [2, 3].map((id) => ({
      ...prepareOrder,
      token: next(),
      reports: [defineAs(id)],
    }));
    await holding(world.reports, 'tm_sink', next(), async () => {
      for (const value of orders) world.leader.say({ $case: 'prepare', value });
      await eventually(async () => (await waitingFor(world.reports, 'tm_sink')) > 0, { withinMs: 10_000 });
    });
    const tokens = orders.map((order) => order.token);
    const told = () => world.leader.all('prepare').filter((said) => tokens.includes(said.token));
    await eventually(() => told().length > 0, { withinMs: 10_000, what: 'an outcome' });
    await eventually(() => told().length === 2, { withinMs: 2_000, what: 'both outcomes' });
    expect(told().map((said) => said.errorCode)).toEqual(['', '']);
  });

  it('row states that hang are gone when they are cancelled', async () => {
    await world.store.use('test', (connection) =>
      connection.query('INSERT INTO tm_state_mark (_source, _window, _token) VALUES (1, 0, 0)'),
    );
    await cancelled(world.store, 'tm_state_mark', () => {
      const of = { sourceId: 1n, shard: 'shard1', token: next() };
      const order = {
        ...of,
        leaderTerm: 3n,
        topologyVersion: 1,
        windows: [window],
        superseded: [],
        formerChains: [],
      };
      world.leader.say({ $case: 'advanceStates', value: order });
      return () => {
        world.leader.say({ $case: 'cancelStates', value: of });
      };
    });
  });

  it('dropping that hangs is gone when it is cancelled', async () => {
    await cancelled(world.store, 'tm_mark', () => {
      const order = { token: next(), leaderTerm: 3n, sourceId: 1n, topologyVersion: 1, window: 1n };
      world.leader.say({ $case: 'dropHistory', value: { ...order, superseded: [] } });
      return cancelChore(order.token);
    });
  });

  rule('executor.earlierConnectionsStay', 'takes over what a stopped executor holds, at once', async () => {
    const soon = { withinMs: 1_500, what: 'an outcome' };
    const stopped = next();
    await holding(world.reports, 'tm_fold', stopped, async () => {
      const order = fold([stopped]);
      const told = () => world.leader.all('housekeeping').find((said) => said.token === order.token);
      expect((await eventually(() => told() ?? false, soon)).errorCode).toBe('');
    });
    await holding(world.reports, 'tm_sink', stopped, async () => {
      const order = { ...prepareOrder, token: next(), superseded: [stopped] };
      world.leader.say({ $case: 'prepare', value: order });
      const told = () => world.leader.all('prepare').find((said) => said.token === order.token);
      expect((await eventually(() => told() ?? false, soon)).errorCode).toBe('');
    });
  });
});
