import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TidemarkError } from '../../src/base/index.ts';
import {
  armFailpoint,
  disarmFailpoint,
  onFailpointHit,
  releaseFailpoint,
  setMutation,
} from '../../src/base/test-build-active.ts';
import type { CompiledSource } from '../../src/job/index.ts';
import type { EngineKind } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import {
  endCollectors,
  SealLog,
  compile,
  markOf,
  openFixture,
  replay,
  startCollector,
  tableRows,
  windowRows,
  type Fixture,
  type RunningCollector,
} from './fixtures.ts';

const ACCOUNTS = 20;
const TABLES = [
  'CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL)',
  'CREATE TABLE transfer (id BIGINT NOT NULL PRIMARY KEY, amount BIGINT NOT NULL, note VARCHAR(40))',
];

interface Transfers {
  stop(): Promise<void>;
}

/** Moves money between accounts until told to stop: the balances always sum to the same. */
function startTransfers(fixture: Fixture): Transfers {
  let running = true;
  let next = 1;
  const loop = async (): Promise<void> => {
    while (running) {
      const [from, to] = [next % ACCOUNTS, (next * 7 + 1) % ACCOUNTS];
      const statements = [
        `UPDATE account SET balance = balance - ${next} WHERE id = ${from}`,
        `INSERT INTO transfer VALUES (${next}, ${next}, ${next % 3 === 0 ? 'NULL' : "'ok'"})`,
        `UPDATE account SET balance = balance + ${next} WHERE id = ${to}`,
        `DELETE FROM transfer WHERE id = ${next - 5}`,
      ];
      await fixture.transaction(statements, next % 11 === 0 ? 'rollback' : 'commit');
      next += 1;
    }
  };
  const done = loop();
  return {
    stop: async () => {
      running = false;
      await done;
    },
  };
}

/** What each window changed the sum of all balances by: 0 for whole transactions. */
async function balanceChanges(fixture: Fixture, source: CompiledSource, log: SealLog): Promise<bigint[]> {
  const sums: bigint[] = [];
  for (const window of log.windows.slice(1)) {
    const rows = await windowRows(fixture, source, 'account', window);
    sums.push(rows.reduce((sum, [weight, , balance]) => sum + (weight as bigint) * (balance as bigint), 0n));
  }
  return sums;
}

function suite(kind: EngineKind): void {
  let fixture: Fixture;
  let source: CompiledSource;
  let log: SealLog;
  const running: RunningCollector[] = [];
  const transfers: Transfers[] = [];

  const transfer = (): Transfers => {
    const started = startTransfers(fixture);
    transfers.push(started);
    return started;
  };

  const start = (options: Parameters<typeof startCollector>[3] = {}): RunningCollector => {
    const collector = startCollector(fixture, source, log, options);
    running.push(collector);
    return collector;
  };

  beforeEach(async () => {
    fixture = await openFixture(kind);
    await fixture.exec(...TABLES);
    const rows = Array.from({ length: ACCOUNTS }, (_, id) => `(${id}, 1000)`).join(', ');
    await fixture.exec(`INSERT INTO account (id, balance) VALUES ${rows}`);
    source = await compile(fixture, ['account', 'transfer']);
    log = new SealLog();
  });

  afterEach(async () => {
    disarmFailpoint('collector.beforeMark');
    disarmFailpoint('collector.beforeSeal');
    for (const one of transfers.splice(0)) await one.stop();
    await endCollectors(running.splice(0), () => fixture.close());
  });

  const expectSameContent = async (): Promise<void> => {
    for (const { table } of source.tables) {
      expect(await replay(fixture, source, table, log.windows)).toEqual(
        await tableRows(fixture, source, table),
      );
    }
  };

  /** Waits until a window covers this moment of the source. */
  const caughtUp = async (): Promise<void> => {
    const now = Date.now();
    await eventually(() => Number(log.windows.at(-1)?.coversMs ?? 0) > now + 1, {
      withinMs: 15_000,
      what: 'a window that covers now',
    });
  };

  it('replays to exactly the tables, in windows that chain and hold whole transactions', async () => {
    const writing = transfer();
    const collector = start();
    await eventually(() => log.windows.length > 6, { withinMs: 15_000 });
    await writing.stop();
    await caughtUp();
    await collector.stop();
    await expectSameContent();
    expect(new Set(await balanceChanges(fixture, source, log))).toEqual(new Set([0n]));
    for (const window of log.windows) {
      const [shard] = window.shards;
      expect(await markOf(fixture, window)).toEqual([shard?.rows, shard?.checksum]);
      const rows = await Promise.all(
        source.tables.map(({ table }) => windowRows(fixture, source, table, window)),
      );
      expect(BigInt(rows.flat().length)).toBe(shard?.rows);
    }
  });

  it('ends a window with a transaction, however full', async () => {
    source = { ...source, window: { ...source.window, rowsMax: 2 } };
    start();
    await eventually(() => log.windows.length >= 1, { withinMs: 15_000 });
    const move = [
      'UPDATE account SET balance = balance - 1 WHERE id = 1',
      'UPDATE account SET balance = balance + 1 WHERE id < 2',
      'UPDATE account SET balance = balance - 1 WHERE id = 0',
    ];
    for (let times = 0; times < 5; times += 1) await fixture.transaction(move);
    await caughtUp();
    expect(new Set(await balanceChanges(fixture, source, log))).toEqual(new Set([0n]));
    await expectSameContent();
  });

  it('keeps the rows of a deposed collector apart', async () => {
    const writing = transfer();
    const first = start();
    await eventually(() => log.windows.length > 2, { withinMs: 15_000 });
    const second = start();
    await expect(first.ended).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    await eventually(() => log.windows.at(-1)?.epoch === log.epoch && log.windows.length > 5, {
      withinMs: 15_000,
    });
    await writing.stop();
    await caughtUp();
    await second.stop();
    await expectSameContent();
  });

  it('is taken over between mark and seal without a lost or doubled row', async () => {
    const writing = transfer();
    const first = start();
    await eventually(() => log.windows.length > 1, { withinMs: 15_000 });
    let held = '';
    const off = onFailpointHit((hit) => {
      held = hit.detail['window'] ?? '';
    });
    armFailpoint({ name: 'collector.beforeSeal', action: 'pause' });
    await eventually(() => held !== '', { withinMs: 15_000 });
    const second = start();
    await eventually(() => log.windows.length >= Number(held), { withinMs: 15_000 });
    releaseFailpoint('collector.beforeSeal');
    await expect(first.ended).rejects.toMatchObject({ code: 'STALE_EPOCH' });
    await writing.stop();
    await caughtUp();
    await second.stop();
    off();
    expect(log.windows[Number(held) - 1]?.epoch).toBe(log.epoch);
    await expectSameContent();
  });

  it('seals a window once when the answer of its seal was lost', async () => {
    let lost = 0;
    const collector = start({
      seal: (window) => {
        log.seal(window);
        lost += 1;
        if (lost % 2 === 1)
          return Promise.reject(new TidemarkError('OUTCOME_UNKNOWN', 'the answer was lost'));
        return Promise.resolve();
      },
    });
    await fixture.exec('UPDATE account SET balance = 5 WHERE id = 3');
    await eventually(() => log.windows.length >= 3, { withinMs: 15_000 });
    await collector.stop();
    await expectSameContent();
  });

  it('seals empty windows of an idle source, seldom, and they cover later and later moments', async () => {
    const started = performance.now();
    start();
    await eventually(() => log.windows.length >= 4, { withinMs: 15_000 });
    // idleSealMs is 200, a window 50 ms: the store's own writes (on MariaDB in the same log) cut nothing.
    expect(performance.now() - started).toBeGreaterThanOrEqual(600);
    expect(log.windows.slice(1, 4).map((window) => window.shards[0]?.rows)).toEqual([0n, 0n, 0n]);
    await caughtUp();
    const covers = log.windows.map((window) => window.coversMs);
    expect(covers).toEqual(covers.toSorted((a, b) => Number(a - b)));
  });

  it('begins again with a snapshot when it was stopped before the first seal', async () => {
    armFailpoint({ name: 'collector.beforeMark', action: 'error' });
    const first = start();
    await expect(first.ended).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(log.windows).toEqual([]);
    await fixture.exec('DELETE FROM account WHERE id = 4');
    const second = start();
    await caughtUp();
    await second.stop();
    await expectSameContent();
  });

  it('ends at once when it is stopped, although a seal is never answered', async () => {
    let asked = false;
    const collector = start({
      seal: () => {
        asked = true;
        return new Promise(() => undefined);
      },
    });
    await eventually(() => asked, { withinMs: 15_000 });
    await fixture.exec('UPDATE account SET balance = 5 WHERE id = 3');
    await collector.stop();
  });

  it('ends with a code when the store fails', async () => {
    await fixture.store.use('test', (connection) => connection.query('DROP TABLE tm_mark'));
    await expect(start().ended).rejects.toMatchObject({ code: 'TABLE_MISSING' });
  });
}

describe('collector, embedded', () => {
  suite('embedded');
});

describe('collector with a rule switched off', () => {
  let fixture: Fixture;
  let source: CompiledSource;
  const log = new SealLog();

  beforeEach(async () => {
    fixture = await openFixture('embedded');
    await fixture.exec(...TABLES, 'INSERT INTO account (id, balance) VALUES (0, 1000), (1, 1000)');
    source = await compile(fixture, ['account', 'transfer'], { rowsMax: 2 });
    log.windows.length = 0;
  });

  afterEach(async () => {
    await fixture.close();
  });

  const collectMove = async (): Promise<void> => {
    const collector = startCollector(fixture, source, log);
    await eventually(() => log.windows.length >= 1, { withinMs: 15_000 });
    await fixture.transaction([
      'UPDATE account SET balance = balance - 1 WHERE id = 1',
      'UPDATE account SET balance = balance + 1 WHERE id = 0',
    ]);
    const rows = (): number => log.windows.reduce((sum, window) => sum + Number(window.shards[0]?.rows), 0);
    await eventually(() => rows() >= 6, { withinMs: 15_000 });
    await collector.stop();
  };

  it('cuts inside a transaction', async () => {
    setMutation('collector.cutInsideTransaction', true);
    await collectMove().finally(() => {
      setMutation('collector.cutInsideTransaction', false);
    });
    expect(new Set(await balanceChanges(fixture, source, log))).not.toEqual(new Set([0n]));
  });

  it('writes rows that no reader of its epoch finds', async () => {
    setMutation('collector.rowsWithoutEpoch', true);
    await collectMove().finally(() => {
      setMutation('collector.rowsWithoutEpoch', false);
    });
    expect(await replay(fixture, source, 'account', log.windows)).not.toEqual(
      await tableRows(fixture, source, 'account'),
    );
  });
});

describe.skipIf(mariadbMissing())('collector, MariaDB', () => {
  suite('mysql');

  it('goes on when the server has dropped its silent connection to the store', async () => {
    const fixture = await openFixture('mysql');
    await fixture.exec(...TABLES);
    const source = await compile(fixture, ['account', 'transfer']);
    const log = new SealLog();
    const collector = startCollector(fixture, source, log, { idleSealMs: 60_000 });
    await eventually(() => log.windows.length === 1, { withinMs: 15_000 });
    const store = (fixture.storeAddress as { url: string }).url.split('/').at(-1) ?? '';
    const killed = await fixture.store.use('test', async (connection) => {
      const { rows } = await connection.query(
        `SELECT ID FROM information_schema.PROCESSLIST WHERE DB = ? AND ID <> CONNECTION_ID()`,
        [store],
      );
      for (const [id] of rows) await connection.query(`KILL ${String(id)}`);
      return rows.length;
    });
    expect(killed).toBeGreaterThan(0);
    await fixture.exec('INSERT INTO account (id, balance) VALUES (1, 1)');
    await eventually(() => log.windows.length === 2, { withinMs: 15_000 });
    await collector.stop();
    expect(await replay(fixture, source, 'account', log.windows)).toEqual(
      await tableRows(fixture, source, 'account'),
    );
    await fixture.close();
  });
});
