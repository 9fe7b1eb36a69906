import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armFailpoint, disarmFailpoint } from '../../../src/base/test-build-active.ts';
import { asToken } from '../../../src/base/index.ts';
import { advanceStates, type AdvanceInput } from '../../../src/executor/states/index.ts';
import {
  MARK_TABLE,
  STATE_MARK_TABLE,
  stateTable,
  type CapturedTable,
  type CompiledSource,
} from '../../../src/job/index.ts';
import type { SqlEngine } from '../../../src/sql/index.ts';
import { codeOf } from '../../sql/engine-contract.ts';
import { freshEngine, type FreshEngine } from '../../support/engines.ts';
import { mariadbMissing } from '../../support/mariadb.ts';
import { rule } from '../../support/rule.ts';
import { makeShard, seal, SOURCE, sourceOf, writeWindow, type Change, type Row } from './store-shard.ts';

const TOKEN = asToken((50_000n << 40n) + 7n);
const column = (name: string, type: string): CapturedTable['columns'][number] => ({
  name,
  type,
  nullable: true,
});

const ITEMS: CapturedTable = {
  table: 'items',
  schemaVersion: 1,
  columns: [column('name', 'TEXT(20)'), column('part', 'BIGINT'), column('cents', 'BIGINT')],
  primaryKey: ['name', 'part'],
  shardKey: 'cents',
};
const TAGS: CapturedTable = {
  table: 'tags',
  schemaVersion: 2,
  columns: [column('id', 'BIGINT'), column('at', 'DATETIME')],
  primaryKey: ['id'],
  shardKey: 'id',
};

const TABLES = [
  'tm_state_4_items_v3',
  'tm_change_4_items_v3',
  'tm_state_4_items_v1',
  'tm_state_4_tags_v2',
  'tm_change_4_items_v1',
  'tm_change_4_tags_v2',
  MARK_TABLE,
  STATE_MARK_TABLE,
];

/** The next schema version of `items`: with a column more, one of another type, and a wider key. */
const ALTERED: CapturedTable = {
  ...ITEMS,
  schemaVersion: 3,
  young: ['cents', 'made'],
  columns: [
    column('name', 'TEXT(400)'),
    column('part', 'BIGINT'),
    column('cents', 'TEXT(9)'),
    column('made', 'DATE'),
  ],
};

function capturedTable(table: string, version: number): CapturedTable {
  if (table === 'tags') return TAGS;
  return version === 1 ? ITEMS : ALTERED;
}

type Work = (shard: Shard) => Promise<void>;

/** One shard with what it was given, and what its row states show. */
class Shard {
  source = sourceOf([ITEMS, TAGS]);
  /** Rows and source of each window. */
  readonly #windows: { readonly rows: number; readonly source: CompiledSource }[] = [];
  readonly #engine: SqlEngine;

  constructor(engine: SqlEngine) {
    this.#engine = engine;
  }

  /** Writes the next window. */
  async window(...changes: readonly Change[]): Promise<number> {
    this.#windows.push({ rows: changes.length, source: this.source });
    await writeWindow(this.#engine, this.source, this.#windows.length, changes);
    return this.#windows.length;
  }

  /** What is written from here on comes again under the number after `window`, as after a restore. */
  restore(window: number): void {
    this.#windows.length = window;
  }

  /** The windows from here on have another schema version; the table of its row states is yet to be made. */
  async alter(table: CapturedTable): Promise<void> {
    this.source = sourceOf([table, TAGS]);
    await this.#engine.use('test', (connection) => connection.query('DROP TABLE tm_state_4_items_v3'));
  }

  advance(
    first: number,
    last: number,
    token: bigint = TOKEN,
    formerChains: AdvanceInput['formerChains'] = [],
  ): Promise<{ window: number }> {
    const windows = Array.from({ length: last - first + 1 }, (_none, at) => {
      const window = this.#windows[first + at - 1];
      return seal(window?.source ?? this.source, first + at, { main: window?.rows ?? 0 });
    });
    return advanceStates(this.#engine, {
      sourceId: SOURCE,
      source: this.source,
      captured: (table, version) => capturedTable(table, version),
      shard: 'main',
      windows,
      token: asToken(token),
      marker: 'test',
      signal: new AbortController().signal,
      formerChains,
    });
  }

  /** The rows of `items` as of a window, as text. */
  async itemsAt(window: number, schemaVersion = 1): Promise<string[]> {
    const table = stateTable({ sourceId: SOURCE, table: 'items', schemaVersion });
    const { rows } = await this.#engine.use('test', (connection) =>
      connection.query(
        `SELECT name, part, cents FROM ${table} WHERE _from <= ? AND _to > ? ORDER BY name, part, cents`,
        [window, window],
      ),
    );
    return rows.map((row) => row.join('/'));
  }

  async mark(): Promise<unknown> {
    const { rows } = await this.#engine.use('test', (connection) =>
      connection.query(`SELECT _window, _token FROM ${STATE_MARK_TABLE} WHERE _source = ?`, [SOURCE]),
    );
    return rows[0];
  }
}

const item = (weight: 1 | -1, ...row: Row): Change => ({
  table: 'items',
  weight: weight === 1 ? 1n : -1n,
  row,
});
const born = (...row: Row): Change => item(1, ...row);
const gone = (...row: Row): Change => item(-1, ...row);

function suite(kind: SqlEngine['kind'], open: () => Promise<FreshEngine>): void {
  let engine: SqlEngine;
  let close: () => Promise<void>;
  beforeAll(async () => {
    ({ engine, close } = await open());
    await makeShard(engine, sourceOf([ITEMS, TAGS]));
    await makeShard(engine, sourceOf([ALTERED, TAGS]));
    await makeShard(engine, sourceOf([ITEMS, TAGS]));
  });
  afterAll(() => close());

  const fresh = async (work: Work): Promise<void> => {
    await engine.use('test', async (connection) => {
      for (const name of TABLES) await connection.query(`DELETE FROM ${name}`);
    });
    await work(new Shard(engine));
  };
  const inFresh = (work: Work) => () => fresh(work);

  it(
    'keeps what a row was as of each window',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 10n), born('b', 1n, 20n));
      await shard.window(gone('a', 1n, 10n), born('a', 1n, 11n), gone('b', 1n, 20n));
      await shard.window();
      await shard.window(born('b', 1n, 21n));
      await shard.advance(1, 2);
      expect(await shard.advance(3, 4)).toMatchObject({ window: 4 });
      expect(await shard.itemsAt(0)).toEqual([]);
      expect(await shard.itemsAt(1)).toEqual(['a/1/10', 'b/1/20']);
      expect(await shard.itemsAt(2)).toEqual(['a/1/11']);
      expect(await shard.itemsAt(3)).toEqual(['a/1/11']);
      expect(await shard.itemsAt(4)).toEqual(['a/1/11', 'b/1/21']);
      expect(await shard.mark()).toEqual([4n, TOKEN]);
    }),
  );

  rule(
    'states.firstImageCounts',
    'counts only the last image of a row in a window',
    inFresh(async (shard) => {
      await shard.window(born('gone again', 1n, 1n), gone('gone again', 1n, 1n), born('kept', 1n, 1n));
      const twice = [gone('kept', 1n, 1n), born('kept', 1n, 2n), gone('kept', 1n, 2n), born('kept', 1n, 3n)];
      await shard.window(...twice, born('new', 1n, 1n));
      await shard.window(
        gone('new', 1n, 1n),
        born('renamed', 1n, 1n),
        gone('kept', 1n, 3n),
        born('kept', 1n, 9n),
      );
      await shard.window(gone('kept', 1n, 9n), born('kept', 1n, 10n), gone('kept', 1n, 10n));
      await shard.advance(1, 4);
      expect(await shard.itemsAt(1)).toEqual(['kept/1/1']);
      expect(await shard.itemsAt(2)).toEqual(['kept/1/3', 'new/1/1']);
      expect(await shard.itemsAt(3)).toEqual(['kept/1/9', 'renamed/1/1']);
      expect(await shard.itemsAt(4)).toEqual(['renamed/1/1']);
    }),
  );

  it(
    'tells apart keys that differ only in blanks or case',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 1n), born('a ', 1n, 2n), born('A', 1n, 3n));
      await shard.window(gone('a ', 1n, 2n));
      await shard.advance(1, 1);
      await shard.advance(2, 2);
      expect(await shard.itemsAt(1)).toHaveLength(3);
      expect((await shard.itemsAt(2)).sort()).toEqual(['A/1/3', 'a/1/1']);
    }),
  );

  rule(
    'states.replayApplied',
    'passes over windows that it holds',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 1n));
      await shard.window(gone('a', 1n, 1n), born('a', 1n, 2n));
      await shard.window(gone('a', 1n, 2n));
      await shard.advance(1, 2);
      expect(await shard.advance(1, 2)).toEqual({ window: 2, rows: 0 });
      expect(await shard.advance(2, 3)).toMatchObject({ window: 3 });
      expect(await shard.itemsAt(2)).toEqual(['a/1/2']);
      expect(await shard.itemsAt(3)).toEqual([]);
      expect(await shard.mark()).toEqual([3n, TOKEN]);
    }),
  );

  rule(
    'states.foreignWindowsKept',
    'takes back what came after the windows that a restored cluster knows',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 1n), born('b', 1n, 1n));
      await shard.window(gone('a', 1n, 1n), born('a', 1n, 2n));
      await shard.window(gone('a', 1n, 2n), gone('b', 1n, 1n), born('c', 1n, 1n));
      await shard.advance(1, 3);
      shard.restore(1);
      await engine.use('test', async (connection) => {
        await connection.query(`DELETE FROM tm_change_4_items_v1 WHERE _window > 1`);
        await connection.query(`DELETE FROM ${MARK_TABLE} WHERE _window > 1`);
      });
      await shard.window(gone('a', 1n, 1n), born('a', 1n, 7n));
      expect(
        await shard.advance(2, 2, TOKEN + 1n, [{ below: TOKEN + 1n, lastWindow: 1n, holed: false }]),
      ).toMatchObject({
        window: 2,
      });
      expect(await shard.itemsAt(1)).toEqual(['a/1/1', 'b/1/1']);
      expect(await shard.itemsAt(2)).toEqual(['a/1/7', 'b/1/1']);
      expect(await shard.itemsAt(3)).toEqual(['a/1/7', 'b/1/1']);
      expect(await shard.mark()).toEqual([2n, TOKEN + 1n]);
      // Nothing is taken back from a shard that is no further than the chain, nor what is of this chain.
      for (const lastWindow of [1n, 2n]) {
        const chains = [{ below: TOKEN + lastWindow, lastWindow, holed: false }];
        expect(await shard.advance(2, 2, TOKEN + 2n, chains)).toEqual({ window: 2, rows: 0 });
      }
      expect(await shard.itemsAt(2)).toEqual(['a/1/7', 'b/1/1']);
    }),
  );

  rule(
    'states.tokenIgnored',
    'is closed to an older token, also by a replay',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 1n));
      await shard.window(gone('a', 1n, 1n));
      await shard.advance(1, 1, TOKEN);
      await shard.advance(1, 1, TOKEN + 2n);
      expect(await codeOf(shard.advance(2, 2, TOKEN + 1n))).toBe('STATE_FENCED');
      expect(await shard.itemsAt(2)).toEqual(['a/1/1']);
      expect(await shard.mark()).toEqual([1n, TOKEN + 2n]);
    }),
  );

  rule(
    'states.schemaBeginsEmpty',
    'begin a schema version with the rows that the change of it left alone',
    inFresh(async (shard) => {
      await shard.window(born('kept', 1n, 1n), born('gone', 1n, 2n), born('before', 1n, 3n));
      await shard.window(gone('before', 1n, 3n));
      await shard.alter(ALTERED);
      await shard.window(gone('gone', 1n, '2', '2026-11-22'), born('new', 1n, '9', '2026-11-22'));
      await shard.window(gone('kept', 1n, '1', '2026-11-22'), born('kept', 1n, '5', '2026-11-22'));
      await shard.advance(1, 1);
      await shard.advance(2, 3);
      await shard.advance(4, 4);
      expect(await shard.itemsAt(1, 1)).toEqual(['before/1/3', 'gone/1/2', 'kept/1/1']);
      expect(await shard.itemsAt(2, 1)).toEqual(['gone/1/2', 'kept/1/1']);
      expect(await shard.itemsAt(2, 3)).toEqual(['gone/1/', 'kept/1/']);
      expect(await shard.itemsAt(3, 3)).toEqual(['kept/1/', 'new/1/9']);
      expect(await shard.itemsAt(4, 3)).toEqual(['kept/1/5', 'new/1/9']);
    }),
  );

  // The embedded engine has one type for a text, however wide.
  if (kind === 'mysql') {
    rule(
      'states.widerColumnsEmpty',
      'keep what they hold in columns that became wider',
      inFresh(async (shard) => {
        await shard.window(born('kept', 1n, 1n), born('gone', 2n, 2n));
        await shard.alter(ALTERED);
        await shard.window(gone('gone', 2n, '2', '2026-11-22'));
        await shard.advance(1, 2);
        expect(await shard.itemsAt(2, 3)).toEqual(['kept/1/']);
      }),
    );
  }

  rule(
    'states.gapIgnored',
    'leaves out no window',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 1n));
      await shard.window(gone('a', 1n, 1n));
      await shard.window();
      await shard.advance(1, 1);
      await expect(shard.advance(3, 3)).rejects.toMatchObject({ code: 'STATE_GAP', details: { mark: '1' } });
      expect(await shard.mark()).toEqual([1n, TOKEN]);
    }),
  );

  it(
    'changes nothing when it breaks off before its end',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 1n));
      armFailpoint({ name: 'executor.beforeStatesCommit', action: 'error' });
      await expect(shard.advance(1, 1)).rejects.toThrow();
      disarmFailpoint('executor.beforeStatesCommit');
      expect(await shard.itemsAt(1)).toEqual([]);
      expect(await shard.mark()).toBeUndefined();
      await shard.advance(1, 1);
      expect(await shard.itemsAt(1)).toEqual(['a/1/1']);
    }),
  );

  rule(
    'states.windowNotChecked',
    'takes only what was sealed',
    inFresh(async (shard) => {
      await shard.window(born('a', 1n, 1n));
      await shard.window(born('b', 1n, 1n));
      await engine.use('test', (connection) =>
        connection.query(`DELETE FROM tm_change_4_items_v1 WHERE _window = 2`),
      );
      expect(await codeOf(shard.advance(1, 2))).toBe('WINDOW_INCOMPLETE');
      expect(await shard.itemsAt(1)).toEqual([]);
    }),
  );
}

describe('row states on the embedded engine', () => {
  suite('embedded', () => freshEngine('embedded', 'states'));
});

describe.skipIf(mariadbMissing())('row states on MariaDB', () => {
  suite('mysql', () => freshEngine('mysql', 'states'));
});
