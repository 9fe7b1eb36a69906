/** Packed rows come back exactly, of every type that a key, a value or a sum may have, and in one order. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken, LIMITS, must } from '../../src/base/index.ts';
import { layoutOf, type ReportLayout } from '../../src/executor/sink/layout.ts';
import { mergeContribution } from '../../src/executor/sink/merge.ts';
import { insertPacks, packRows, pairsOf, unpacked } from '../../src/executor/sink/packs.ts';
import { prepareReport } from '../../src/executor/sink/report-view.ts';
import { retractContribution } from '../../src/executor/sink/retract.ts';
import type { Measure } from '../../src/job/index.ts';
import type { SqlParam } from '../../src/sql/index.ts';
import { freshEngine, type FreshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { foldAndSweep } from './fold-and-sweep.ts';
import { makeSink, registerSource, REPORT, TOKEN_BASE, type Sink } from './merge-fixture.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** By type, values as the store's SQL gives them. */
const COMMON: Readonly<Record<string, readonly SqlParam[]>> = {
  BIGINT: [-(2n ** 63n), -1n, 0n, 9n, 10n, 2n ** 53n + 1n, 2n ** 63n - 1n],
  'TEXT(20)': ['', 'a', 'a ', 'A', 'ä', '日本', `"'\\`, '\n', '🦉'].map(bytes),
  'BYTES(9)': [[], [0], [0, 0], [255], [34, 92], [97]].map((list) => new Uint8Array(list)),
  DATE: ['0001-01-01', '2026-11-22', '9999-12-31'],
  'DATETIME(6)': ['1000-01-01 00:00:00.000001', '2026-11-22 23:59:59.999999', '2026-11-23 00:00:00.000000'],
  'TIME(6)': ['-838:59:59.000000', '-00:00:00.000001', '00:00:00.000000', '100:00:00.000000'],
  BOOL: [0n, 1n],
};
const OF_MYSQL: Readonly<Record<string, readonly SqlParam[]>> = {
  'BIGINT UNSIGNED': [0n, 2n ** 63n, 2n ** 64n - 1n],
  'DECIMAL(65,30)': [
    `-${'9'.repeat(35)}.${'9'.repeat(30)}`,
    `-0.${'0'.repeat(29)}1`,
    `0.${'0'.repeat(30)}`,
    `${'9'.repeat(35)}.${'9'.repeat(29)}8`,
  ],
};
/** Where a moment is whatever text the SQL gives. */
const OF_EMBEDDED = { DATE: ['', 'tomorrow "or" \\later', 'später\t☂'] };

/** Bytes by their digits: they come as views of the driver's own. */
const shown = (value: SqlParam): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;

const min = (type: string): Measure => ({ name: 'low', kind: 'min', type });
const sum = (type: string): Measure => ({ name: 'total', kind: 'sum', type });

describe.each(['embedded', 'mysql'] as const)('packed rows: %s', (kind) => {
  describe.skipIf(kind === 'mysql' && mariadbMissing())('', () => {
    let place: FreshEngine;
    let sink: Sink;
    let reports = 20;
    const types = Object.entries({ ...COMMON, ...(kind === 'mysql' ? OF_MYSQL : OF_EMBEDDED) });
    const sumType = kind === 'mysql' ? 'DECIMAL(43,20)' : 'BIGINT';

    beforeAll(async () => {
      place = await freshEngine(kind, 'packs');
      sink = await makeSink(place.engine);
    });
    afterAll(() => place.close());

    const read = async (sql: string): Promise<unknown[][]> => {
      const { rows } = await sink.engine.use('test', (connection) => connection.query(sql));
      return rows.map((row) => row.map(shown));
    };

    /** A report with keys of these types and a number, a sum, and the least value of a type. */
    async function report(keys: readonly string[], valueType: string): Promise<ReportLayout> {
      reports += 1;
      const layout = layoutOf(
        { reportId: reports, generation: 1 },
        {
          ...REPORT,
          name: `report_${reports}`,
          keys: [...keys, 'BIGINT'].map((type, at) => ({ name: `k${at}`, type, nullable: false })),
          measures: [sum(sumType), ...(valueType === 'BOOL' ? [] : [min(valueType)])],
        },
      );
      await prepareReport(sink.engine, { ...sink.grant, prepared: asToken(TOKEN_BASE), sourceId: 1 }, layout);
      await registerSource(sink, { reportId: reports, generation: 1, sourceId: 1 }, `report_${reports}`);
      return layout;
    }

    const inputOf = (layout: ReportLayout, window: number, version: number) => ({
      grant: sink.grant,
      layout,
      token: asToken(TOKEN_BASE + BigInt(version)),
      span: {
        ...{ reportId: layout.reportId, generation: 1, sourceId: 1, part: 0, parts: 1 },
        ...{ firstWindow: window, lastWindow: window, coversMs: window, position: 'p' },
      },
    });

    it('are added, replaced, taken out and folded exactly, whatever the type', async () => {
      for (const [type, values] of types) {
        const layout = await report([type], type);
        const amount = (n: bigint): SqlParam => (kind === 'mysql' ? `${n}.${'0'.repeat(19)}7` : n);
        const merge = (version: number, weight: bigint): Promise<unknown> =>
          mergeContribution(sink.context, {
            ...inputOf(layout, version > 3 ? 2 : 1, version),
            contribution: {
              additive: values.map((value, at) => [value, BigInt(at), weight, amount(weight), weight]),
              multisets: layout.multisets.map(() =>
                values.map((value, at) => [value, BigInt(at), value, weight]),
              ),
            },
          });
        const stored = (): Promise<unknown[][]> =>
          read(`SELECT key_1, key_0, row_count FROM ${layout.table} ORDER BY key_1`);
        const least = (): Promise<unknown> =>
          Promise.all(
            layout.multisets.map(({ table }) => read(`SELECT value, weight FROM ${table} ORDER BY key_1`)),
          );
        const expected = (count: bigint): unknown[] =>
          values.map((value, at) => [BigInt(at), shown(value), count]);
        await merge(1, 2n);
        expect(await stored(), type).toEqual(expected(2n));
        await merge(2, 3n);
        expect(await stored(), type).toEqual(expected(3n));
        await merge(4, 1n);
        expect(await stored(), type).toEqual(expected(4n));
        expect(await least()).toEqual(layout.multisets.map(() => values.map((value) => [shown(value), 4n])));
        const retracted = { ...inputOf(layout, 1, 3), reason: 'X' };
        expect(await retractContribution(sink.context, retracted)).toBe('RETRACTED');
        expect(await stored(), type).toEqual(expected(1n));
        await retractContribution(sink.context, { ...inputOf(layout, 2, 5), reason: 'X' });
        expect(await stored(), type).toEqual(expected(0n));
        await fold(layout, 2);
        expect(await stored(), type).toEqual([]);
        expect(await read(`SELECT COUNT(*) FROM ${layout.contributionTable}`)).toEqual([[0n]]);
      }
    });

    const fold = (layout: ReportLayout, window: number): Promise<number> =>
      foldAndSweep(sink.context, {
        grant: sink.grant,
        layout,
        scope: { reportId: layout.reportId, generation: 1, sourceId: 1 },
        spanEnds: Array.from({ length: window }, (_, at) => ({ window: at + 1, seal: TOKEN_BASE })),
      });

    rule('merge.rowsInAnyOrder', 'stand in the order that the database gives their texts', async () => {
      const layout = await report(['BIGINT', 'TEXT(20)', 'TIME(6)'], 'BIGINT');
      const pair = must(pairsOf(layout)[0], 'a pair');
      const pick = (type: string, n: number): SqlParam => {
        const values = must(COMMON[type], type);
        return must(values[n % values.length], 'a value');
      };
      const rows = Array.from({ length: 300 }, (_, n): SqlParam[] => {
        const keys = [pick('BIGINT', n), pick('TEXT(20)', n * 7), pick('TIME(6)', n * 3), BigInt(n * n)];
        return [...keys, 1n, 1n, 1n];
      });
      const packs = packRows(pair, rows);
      const owner = { sourceId: 1, firstWindow: 1, part: 0, token: 9n };
      await sink.engine.use('test', (connection) => insertPacks(connection, layout, owner, packs));
      const { from, texts } = unpacked(sink.engine.dialect, layout, pair);
      const asPacked = await read(`SELECT ${texts.join(', ')} ${from}`);
      const inOrder = await read(`SELECT ${texts.join(', ')} ${from} ORDER BY ${texts.join(', ')}`);
      expect(asPacked.length).toBe(300);
      expect(asPacked).toEqual(inOrder);
    });

    it('are added by merges at once that wait for each other, and never deadlock', async () => {
      const layout = await report(['TEXT(20)'], 'BIGINT');
      const again: string[] = [];
      const context = {
        ...sink.context,
        log: { warn: (fields: Readonly<Record<string, unknown>>) => again.push(String(fields['error'])) },
      };
      const keys = Array.from({ length: 600 }, (_, n) => [Buffer.from(`${n}`), BigInt((n * 7919) % 600)]);
      const merge = (window: number): Promise<unknown> => {
        // Each in an order of its own.
        const rows = keys.map((_key, n) => must(keys[(n * (2 * window + 1) * 7 + window) % 600], 'a key'));
        const additive = [...new Set(rows)].map((key): SqlParam[] => [...key, 1n, 1n, 1n]);
        const contribution = { additive, multisets: [[]] };
        return mergeContribution(context, { ...inputOf(layout, window, 100 + window), contribution });
      };
      await mergeContribution(context, {
        ...inputOf(layout, 1, 1),
        contribution: { additive: keys.map((key) => [...key, 1n, 1n, 1n]), multisets: [[]] },
      });
      await Promise.all([2, 3, 4, 5, 6, 7].map(merge));
      expect(again.filter((error) => /deadlock/i.test(error))).toEqual([]);
    });

    it.skipIf(kind === 'embedded')('are refused where a key or value is longer than declared', async () => {
      const texts = [
        ['TEXT(3)', 'london-bridge-1'],
        ['BYTES(3)', 'abcd'],
      ];
      for (const [type = '', text = ''] of texts) {
        const keyed = await report([type], 'BIGINT');
        const row: SqlParam[] = [bytes(text), 1n, 1n, 1n, 1n];
        const contribution = { additive: [row], multisets: [[]] };
        const merged = mergeContribution(sink.context, { ...inputOf(keyed, 1, 1), contribution });
        await expect(merged, type).rejects.toMatchObject({ code: 'VALUE_RANGE' });
        const valued = await report([], type);
        const held = { additive: [[1n, 1n, 1n, 1n]], multisets: [[[1n, bytes(text), 1n]]] };
        const member = mergeContribution(sink.context, { ...inputOf(valued, 1, 1), contribution: held });
        await expect(member, type).rejects.toMatchObject({ code: 'VALUE_RANGE' });
      }
    });

    it('are cut into packs by number and by bytes, none left out', async () => {
      const layout = await report(['TEXT(700)'], 'BIGINT');
      const pair = must(pairsOf(layout)[0], 'a pair');
      const row = (n: number, length: number): SqlParam[] => [
        Buffer.alloc(length, `${n} `),
        BigInt(n),
        ...[1n, 0n, 0n],
      ];
      const many = Array.from({ length: 2 * LIMITS.packRowsMax + 1 }, (_, n) => row(n, 5));
      expect(packRows(pair, many).map((pack) => pack.rows)).toEqual([
        ...[LIMITS.packRowsMax, LIMITS.packRowsMax],
        1,
      ]);
      const wide = packRows(
        pair,
        Array.from({ length: 1_000 }, (_, n) => row(n, 700)),
      );
      expect(wide.reduce((total, pack) => total + pack.rows, 0)).toBe(1_000);
      for (const { body } of wide) expect(body.length).toBeLessThan(LIMITS.packBytesMax + 4_096);
      expect(wide.length).toBeGreaterThan(4);
      expect(packRows(pair, [])).toEqual([]);
    });
  });
});
