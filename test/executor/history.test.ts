/** Folding a report and dropping history, on real databases. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken, LIMITS } from '../../src/base/index.ts';
import { createStoreTables } from '../../src/collector/index.ts';
import { dropHistory } from '../../src/executor/retention/drop-history.ts';
import { foldSpans, sweepOf } from '../../src/executor/sink/fold.ts';
import { mergeContribution } from '../../src/executor/sink/merge.ts';
import { retractContribution } from '../../src/executor/sink/retract.ts';
import { createStateTables } from '../../src/executor/states/index.ts';
import type { CompiledSource } from '../../src/job/index.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { foldAndSweep } from './fold-and-sweep.ts';
import { contributionOf, makeSink, registerSource, TOKEN_BASE, type Sink } from './merge-fixture.ts';
import type { WeightedRow } from './merge-model.ts';

const SOURCE: CompiledSource = {
  format: 1,
  name: 'shop',
  engine: 'embedded',
  database: { kind: 'embedded', file: 'x.db' },
  windowMs: 1_000,
  tables: [
    {
      table: 'orders',
      schemaVersion: 1,
      primaryKey: ['id'],
      shardKey: 'id',
      columns: [{ name: 'id', type: 'BIGINT', nullable: false }],
    },
  ],
} as unknown as CompiledSource;

async function rowsOf(engine: SqlEngine, sql: string): Promise<readonly (readonly SqlValue[])[]> {
  return (await engine.use('test', (connection) => connection.query(sql))).rows;
}

async function foldsAway(engine: SqlEngine): Promise<void> {
  const sink = await makeSink(engine);
  const scope = { reportId: 7, generation: 1, sourceId: 1 };
  await registerSource(sink, scope, 'sales');
  const row = (weight: 1n | -1n): WeightedRow => ({ name: 'a', amount: 5n, label: 'x', weight });
  await merge(sink, 1, [row(1n), { ...row(1n), name: 'b' }]);
  await merge(sink, 2, [row(-1n)]);
  await merge(sink, 4, [row(1n)]);
  const input = {
    grant: sink.grant,
    layout: sink.layout,
    scope,
    spanEnds: [1, 2, 3, 4].map((window) => ({ window, seal: TOKEN_BASE + BigInt(window) })),
  };
  const late = { ...sink.grant, epoch: asToken(sink.grant.epoch + 1n) };
  await expect(foldAndSweep(sink.context, { ...input, grant: late })).rejects.toMatchObject({
    code: 'SINK_EPOCH',
  });
  // Window 3 is not settled yet. What window 4 added is still there, so the row of `a` is not zero.
  expect(await foldAndSweep(sink.context, input)).toBe(2);
  const left = async (table: string): Promise<number> =>
    Number((await rowsOf(engine, `SELECT COUNT(*) FROM ${table}`))[0]?.[0]);
  expect(await left(sink.layout.table)).toBe(2);
  expect(await left(sink.layout.contributionTable)).toBe(3);
  await merge(sink, 3, [row(-1n)]);
  expect(await foldAndSweep(sink.context, input)).toBe(4);
  expect(await left(sink.layout.table)).toBe(1);
  for (const { table } of [sink.layout, ...sink.layout.multisets]) expect(await left(table)).toBe(1);
  expect(await left(sink.layout.contributionTable)).toBe(0);
  expect(await left('tm_ledger')).toBe(0);
  expect(await rowsOf(engine, 'SELECT folded_window, folded_seal FROM tm_fold WHERE source_id = 1')).toEqual([
    [4n, TOKEN_BASE + 4n],
  ]);
  expect(await rowsOf(engine, 'SELECT last_window FROM tm_watermark WHERE source_id = 1')).toEqual([[4n]]);
  expect(await merge(sink, 4, [row(1n)])).toBe('FOLDED');
}

/** Keys that nothing but a contribution that was taken out again has ever touched. */
async function foldsRetracted(engine: SqlEngine): Promise<void> {
  const sink = await makeSink(engine);
  const scope = { reportId: 7, generation: 1, sourceId: 1 };
  await registerSource(sink, scope, 'sales');
  const row = (name: string): WeightedRow => ({ name, amount: 5n, label: name, weight: 1n });
  await merge(sink, 1, [row('replaced'), row('kept')]);
  await merge(sink, 1, [row('kept')], 1n);
  await merge(sink, 2, [row('retracted')]);
  const { grant, layout } = sink;
  const token = asToken(TOKEN_BASE + 200n);
  await retractContribution(sink.context, { grant, layout, span: spanOf(2), token, reason: 'SKIPPED' });
  // Tried again, and dead again: what was noted at first is no contribution.
  await merge(sink, 2, [row('again')], 200n);
  await retractContribution(sink.context, {
    ...{ grant, layout, span: spanOf(2), reason: 'SKIPPED' },
    token: asToken(TOKEN_BASE + 400n),
  });
  const name = sink.layout.keys[1]?.column ?? '';
  const names = async (table: string): Promise<unknown[]> =>
    (await rowsOf(engine, `SELECT DISTINCT ${name} FROM ${table} ORDER BY ${name}`)).map(([found]) =>
      Buffer.from(found as Uint8Array).toString(),
    );
  expect(await names(sink.layout.table)).toEqual(['again', 'kept', 'replaced', 'retracted']);
  const spanEnds = [1, 2].map((window) => ({ window, seal: TOKEN_BASE + BigInt(window) }));
  expect(await foldAndSweep(sink.context, { grant, layout, scope, spanEnds })).toBe(2);
  for (const { table } of [layout, ...layout.multisets]) expect(await names(table)).toEqual(['kept']);
  expect(await rowsOf(engine, `SELECT COUNT(*) FROM ${layout.contributionTable}`)).toEqual([[0n]]);
}

/** More rows than one piece takes. */
async function sweepsInPieces(engine: SqlEngine): Promise<void> {
  const sink = await makeSink(engine);
  const scope = { reportId: 7, generation: 1, sourceId: 1 };
  await registerSource(sink, scope, 'sales');
  const { grant, layout } = sink;
  const additive = Array.from({ length: LIMITS.packedRowsSweptAtOnce + 1 }, (_, n) => {
    return [0, Buffer.from(`n${n}`), -1n, 0n, 0n, 0n, 0n, 0n];
  });
  const contribution = { additive, multisets: [[], []] };
  const token = asToken(TOKEN_BASE + 100n);
  await mergeContribution(sink.context, { grant, layout, span: spanOf(1), token, contribution });
  const input = { grant, layout, scope, spanEnds: [{ window: 1, seal: TOKEN_BASE + 1n }] };
  expect(await foldSpans(sink.context, input)).toBe(1);
  const sweep = sweepOf(sink.context, input);
  const left = (): Promise<unknown> =>
    rowsOf(engine, `SELECT SUM(row_total) FROM ${layout.contributionTable}`);
  expect(await left()).toMatchObject([[BigInt(additive.length)]]);
  expect(await sweep()).toBe(true);
  expect(await left()).toMatchObject([[1n]]);
  expect(await sweep()).toBe(true);
  expect(await left()).toEqual([[null]]);
  expect(await sweep()).toBe(false);
}

function spanOf(window: number) {
  return {
    ...{ reportId: 7, generation: 1, sourceId: 1, part: 0, parts: 1 },
    ...{ firstWindow: window, lastWindow: window, coversMs: window, position: `at ${window}` },
  };
}

async function merge(
  sink: Sink,
  window: number,
  rows: readonly WeightedRow[],
  version = 0n,
): Promise<string> {
  const span = spanOf(window);
  const token = asToken(TOKEN_BASE + 100n + BigInt(window) + version);
  const { grant, layout } = sink;
  const input = { grant, layout, span, token, contribution: contributionOf(0, rows) };
  return (await mergeContribution(sink.context, input)).result;
}

async function dropsHistory(engine: SqlEngine): Promise<void> {
  await createStoreTables(engine, 1, SOURCE);
  await createStateTables(engine, 1, SOURCE);
  const changes: SqlValue[][] = [];
  // Two epochs and two days; of windows 3 and 4 also what a deposed collector left.
  for (let window = 1; window <= 6; window++) {
    for (let n = 1; n <= 700; n++) {
      const day = window < 4 ? '2026-01-01' : '2026-01-02';
      changes.push([1n, window < 3 ? 10n : 20n, day, BigInt(window), BigInt(n), 1n, BigInt(n)]);
      if (window === 3 || window === 4) changes.push([1n, 10n, day, BigInt(window), BigInt(n), 1n, 0n]);
    }
  }
  const columns = ['_source', '_epoch', '_day', '_window', '_n', '_w', 'id'];
  const versions: SqlValue[][] = [];
  for (let id = 1n; id <= 1_500n; id++)
    versions.push([id, 1n, 3n], [id, 3n, id % 2n === 0n ? 5n : 2n ** 53n - 1n]);
  await engine.use('test', async (connection) => {
    await connection.insertRows('tm_change_1_orders_v1', columns, changes);
    await connection.insertRows(
      'tm_mark',
      ['_source', '_epoch', '_window', '_rows', '_checksum'],
      [1n, 2n, 3n, 4n, 5n, 6n].map((window) => [1n, 20n, window, 700n, '00']),
    );
    await connection.insertRows('tm_state_1_orders_v1', ['id', '_from', '_to'], versions);
    await connection.insertRows('tm_state_mark', ['_source', '_window', '_token'], [[1n, 6n, 9n]]);
  });
  const drop = (window: number): Promise<void> =>
    dropHistory(engine, {
      sourceId: 1,
      source: SOURCE,
      window,
      token: 9n,
      signal: new AbortController().signal,
    });
  const changesLeft = 'SELECT _epoch, _window, COUNT(*) FROM tm_change_1_orders_v1 GROUP BY _epoch, _window';
  await drop(4);
  expect(await rowsOf(engine, `${changesLeft} ORDER BY _window`)).toEqual([
    [20n, 5n, 700n],
    [20n, 6n, 700n],
  ]);
  expect(await rowsOf(engine, 'SELECT _window FROM tm_mark ORDER BY _window')).toEqual([[5n], [6n]]);
  // The state as of window 4 is whole: of each row the version that holds then.
  const state = 'SELECT COUNT(*) FROM tm_state_1_orders_v1 WHERE _from <= 4 AND _to > 4';
  expect(await rowsOf(engine, state)).toEqual([[1_500n]]);
  expect(await rowsOf(engine, 'SELECT COUNT(*) FROM tm_state_1_orders_v1')).toEqual([[1_500n]]);
  await drop(5);
  expect(await rowsOf(engine, 'SELECT COUNT(*) FROM tm_state_1_orders_v1')).toEqual([[750n]]);
  await drop(5);
}

describe('on the embedded engine', () => {
  let folder = '';
  const engines: SqlEngine[] = [];
  const engine = (): SqlEngine => {
    const opened = openEngine({ kind: 'embedded', file: join(folder, `${engines.length}.db`) });
    engines.push(opened);
    return opened;
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-history-'));
  });

  afterAll(async () => {
    for (const opened of engines) await opened.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('folding removes contributions, ledger rows, and rows that say nothing any more', async () => {
    await foldsAway(engine());
  });

  it('dropping removes change rows of every epoch, marks, and versions that ended', async () => {
    await dropsHistory(engine());
  });

  rule('fold.sweepsAllAtOnce', 'sweeping takes as many rows as one transaction may look at', async () => {
    await sweepsInPieces(engine());
  });

  rule('merge.retractedKeysForgotten', 'folding removes rows that only a retraction has left', async () => {
    await foldsRetracted(engine());
  });
});

describe.skipIf(mariadbMissing())('on MariaDB', () => {
  let database: FreshDatabase;
  let engine: SqlEngine;

  beforeAll(async () => {
    database = await freshDatabase('history');
    engine = openEngine({ kind: 'mysql', url: database.url });
  });

  afterAll(async () => {
    await engine.close();
    await database.drop();
  });

  it('folding removes contributions, ledger rows, and rows that say nothing any more', async () => {
    await foldsAway(engine);
  });

  it('dropping removes change rows of every epoch, marks, and versions that ended', async () => {
    await dropsHistory(engine);
  });

  it('folding removes rows that only a retraction has left', async () => {
    const other = await freshDatabase('history_retracted');
    const apart = openEngine({ kind: 'mysql', url: other.url });
    try {
      await foldsRetracted(apart);
    } finally {
      await apart.close();
      await other.drop();
    }
  });
});
