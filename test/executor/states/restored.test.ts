/** Row states of a restored cluster: what its former self has left in the store, and dropped there. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken } from '../../../src/base/index.ts';
import { checkStates } from '../../../src/executor/compute/state-mark.ts';
import { dropHistory } from '../../../src/executor/retention/drop-history.ts';
import { advanceStates, openRowStates } from '../../../src/executor/states/index.ts';
import { MARK_TABLE, STATE_MARK_TABLE, type CapturedTable } from '../../../src/job/index.ts';
import type { SqlEngine } from '../../../src/sql/index.ts';
import { codeOf } from '../../sql/engine-contract.ts';
import { freshEngine, type FreshEngine } from '../../support/engines.ts';
import { mariadbMissing } from '../../support/mariadb.ts';
import { rule } from '../../support/rule.ts';
import { makeShard, seal, SOURCE, sourceOf, writeWindow, type Change } from './store-shard.ts';

const ITEMS: CapturedTable = {
  table: 'items',
  schemaVersion: 1,
  columns: ['id', 'cents'].map((name) => ({ name, type: 'BIGINT', nullable: true })),
  primaryKey: ['id'],
  shardKey: 'id',
};
const SHOP = sourceOf([ITEMS]);
/** Grants of the former cluster, and of the restored one. */
const FORMER = asToken((50_000n << 40n) + 7n);
const RESTORED = asToken((60_000n << 40n) + 7n);
const signal = new AbortController().signal;

const born = (...row: bigint[]): Change => ({ table: 'items', weight: 1n, row });
const gone = (...row: bigint[]): Change => ({ table: 'items', weight: -1n, row });

/** Rows 1 and 2 come in window 1; row 1 changes in window 3. */
const WINDOWS = [[born(1n, 10n), born(2n, 20n)], [], [gone(1n, 10n), born(1n, 11n)], [], [], []];

class Shard {
  readonly #engine: SqlEngine;
  readonly #rows: number[] = [];

  constructor(engine: SqlEngine) {
    this.#engine = engine;
  }

  /** Empties the shard, and fills it as the former cluster did. */
  async fill(): Promise<void> {
    for (const table of ['tm_state_4_items_v1', 'tm_change_4_items_v1', MARK_TABLE, STATE_MARK_TABLE]) {
      await this.query(`DELETE FROM ${table}`);
    }
    this.#rows.length = 0;
    for (const changes of WINDOWS) await this.window(changes);
    await this.advance(1, 6, FORMER);
  }

  async query(sql: string): Promise<readonly (readonly unknown[])[]> {
    return (await this.#engine.use('test', (connection) => connection.query(sql))).rows;
  }

  async window(changes: readonly Change[]): Promise<void> {
    this.#rows.push(changes.length);
    await writeWindow(this.#engine, SHOP, this.#rows.length, changes);
  }

  /** What comes next has the number after `lastWindow` again. */
  async restore(lastWindow: number): Promise<void> {
    for (const table of ['tm_change_4_items_v1', MARK_TABLE]) {
      await this.query(`DELETE FROM ${table} WHERE _window > ${lastWindow}`);
    }
    this.#rows.length = lastWindow;
  }

  #sealed(first: number, last: number) {
    return Array.from({ length: last - first + 1 }, (_none, at) =>
      seal(SHOP, first + at, { main: this.#rows[first + at - 1] ?? 0 }),
    );
  }

  advance(
    first: number,
    last: number,
    token: bigint,
    lastWindow?: number,
    holed = false,
  ): Promise<{ window: number }> {
    return advanceStates(this.#engine, {
      ...{ sourceId: SOURCE, source: SHOP, captured: () => ITEMS, shard: 'main' },
      ...{ windows: this.#sealed(first, last), token: asToken(token), marker: 'test', signal },
      formerChains: chainsOf(lastWindow, holed),
    });
  }

  drop(window: number, token: bigint): Promise<void> {
    return dropHistory(this.#engine, { sourceId: SOURCE, source: SHOP, window, token, signal });
  }

  /** Looks whether a task over these windows may read the row states. */
  check(first: number, last: number, lastWindow?: number, fromStates = false): Promise<void> {
    const of = { source: SHOP, sourceId: SOURCE, shard: 'main', windows: this.#sealed(first, last) };
    return this.#engine.use('test', (connection) =>
      checkStates(connection, { ...of, formerChains: chainsOf(lastWindow), fromStates }),
    );
  }

  held(lastWindow?: number): Promise<number> {
    const shards = new Map([['main', this.#engine]]);
    const formerChains = chainsOf(lastWindow);
    return openRowStates({ sourceId: SOURCE, source: SHOP, formerChains, shards }).held();
  }

  async items(window: number): Promise<string[]> {
    const at = `_from <= ${window} AND _to > ${window}`;
    const rows = await this.query(`SELECT id, cents FROM tm_state_4_items_v1 WHERE ${at} ORDER BY id, cents`);
    return rows.map((row) => row.join('/'));
  }
}

const chainsOf = (lastWindow?: number, holed = false) =>
  lastWindow === undefined ? [] : [{ below: RESTORED, lastWindow: BigInt(lastWindow), holed }];

function suite(kind: SqlEngine['kind'], open: () => Promise<FreshEngine>): void {
  let shard: Shard;
  let close: () => Promise<void>;
  beforeAll(async () => {
    const opened = await open();
    close = opened.close;
    await makeShard(opened.engine, SHOP);
    shard = new Shard(opened.engine);
  });
  afterAll(() => close());
  const filled = (work: () => Promise<void>) => async () => {
    await shard.fill();
    await work();
  };

  for (const name of ['states.holesTakenBack', 'states.droppedNotNoted'] as const) {
    rule(
      name,
      'are not taken back to a window below the horizon that the store has seen',
      filled(async () => {
        await shard.drop(4, FORMER);
        await shard.restore(2);
        await shard.window([born(3n, 30n)]);
        const back = shard.advance(3, 3, RESTORED, 2);
        await expect(back).rejects.toMatchObject({
          code: 'HISTORY_DROPPED',
          message: /restored to window 2, and versions up to 4 were dropped/,
        });
        // Nobody reads them as if nothing had happened either.
        expect(await codeOf(shard.check(3, 3, 2))).toBe('STATE_BEHIND');
      }),
    );
  }

  it(
    'are taken back to a window that is not below it',
    filled(async () => {
      await shard.drop(2, FORMER);
      await shard.restore(2);
      await shard.window([born(3n, 30n)]);
      expect(await shard.advance(3, 3, RESTORED, 2)).toMatchObject({ window: 3 });
      expect(await shard.items(3)).toEqual(['1/10', '2/20', '3/30']);
      await shard.check(3, 3, 2);
    }),
  );

  it(
    'are taken back with their holes where the source is read again',
    filled(async () => {
      await shard.drop(4, FORMER);
      await shard.restore(2);
      await shard.window([born(3n, 30n)]);
      expect(await shard.advance(3, 3, RESTORED, 2, true)).toMatchObject({ window: 3 });
      expect(await shard.items(3)).toEqual(['2/20', '3/30']);
      // What is read again comes with windows of this chain, from which reports begin.
      await shard.window([born(1n, 11n)]);
      await shard.advance(4, 4, RESTORED, 2, true);
      expect(await shard.items(4)).toEqual(['1/11', '2/20', '3/30']);
      await shard.check(4, 4, 2, true);
    }),
  );

  rule(
    'states.holesRead',
    'are not read where versions are gone',
    filled(async () => {
      await shard.drop(4, FORMER);
      // The state before the span's first window is read too.
      expect(await codeOf(shard.check(4, 6))).toBe('HISTORY_DROPPED');
      await shard.check(5, 6);
      expect(await codeOf(shard.check(3, 3, undefined, true))).toBe('HISTORY_DROPPED');
      await shard.check(4, 4, undefined, true);
    }),
  );

  rule(
    'states.foreignMarkRead',
    'as they were before the restore are not read beyond where the chains part',
    filled(async () => {
      await shard.check(3, 3, 3);
      expect(await codeOf(shard.check(3, 4, 3))).toBe('STATE_BEHIND');
      expect(await shard.held(3)).toBe(3);
      expect(await shard.held()).toBe(6);
      await shard.restore(3);
      await shard.window([]);
      await shard.advance(4, 4, RESTORED, 3);
      await shard.check(3, 4, 3);
      expect(await shard.held(3)).toBe(4);
    }),
  );

  rule(
    'states.formerDropGoesOn',
    'are not dropped from by a grant of before the restore',
    filled(async () => {
      await shard.restore(1);
      await shard.window([gone(1n, 10n), born(1n, 12n)]);
      await shard.advance(2, 2, RESTORED, 1);
      expect(await codeOf(shard.drop(4, FORMER))).toBe('STATE_FENCED');
      expect(await shard.items(1)).toEqual(['1/10', '2/20']);
      await shard.drop(1, RESTORED);
      await shard.drop(2, RESTORED);
      expect(await shard.items(2)).toEqual(['1/12', '2/20']);
    }),
  );
}

describe('row states after a restore, embedded', () => {
  suite('embedded', () => freshEngine('embedded', 'restored'));
});
describe.skipIf(mariadbMissing())('row states after a restore, MariaDB', () => {
  suite('mysql', () => freshEngine('mysql', 'restored'));
});
