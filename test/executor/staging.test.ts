/** Contributions that are staged in pieces: what stands, what is left over, and who may write. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken } from '../../src/base/fencing-token.ts';
import { Gatherer } from '../../src/executor/compute/gatherer.ts';
import { foldAndSweep } from './fold-and-sweep.ts';
import type { LedgerSpan } from '../../src/executor/sink/ledger.ts';
import { mergeContribution, type Contribution } from '../../src/executor/sink/merge.ts';
import { retractContribution } from '../../src/executor/sink/retract.ts';
import { clearStage, Staging, type StagingInput } from '../../src/executor/sink/staging.ts';
import type { SqlValue } from '../../src/sql/index.ts';
import { freshEngine, type FreshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { faultyEngine } from './faulty-engine.ts';
import { held } from './held.ts';
import {
  contextOf,
  contributionOf,
  makeSink,
  registerSource,
  TOKEN_BASE,
  type Sink,
} from './merge-fixture.ts';
import type { WeightedRow } from './merge-model.ts';

const ZEROS = [0n, 0n, 0n, 0n, 0n];
const NOTHING = { attempt: 0n, pieces: 0, rows: 0 };

describe.each(['embedded', 'mysql'] as const)('staged contributions: %s', (kind) => {
  describe.skipIf(kind === 'mysql' && mariadbMissing())('', () => {
    let place: FreshEngine;
    let sink: Sink;
    let sources = 900;

    beforeAll(async () => {
      place = await freshEngine(kind, 'staging');
      sink = await makeSink(place.engine);
    });
    afterAll(() => place.close());

    /** A source of its own for each test: its number is the first key of its rows too. */
    async function begin(): Promise<(token: number, window?: number) => StagingInput & { span: LedgerSpan }> {
      sources += 1;
      const sourceId = sources;
      const scope = { reportId: 7, generation: 1, sourceId };
      await registerSource(sink, scope, 'sales');
      return (token, window = 1) => ({
        grant: sink.grant,
        layout: sink.layout,
        span: {
          ...{ ...scope, firstWindow: window, lastWindow: window, part: 0, parts: 1 },
          ...{ coversMs: window, position: String(window) },
        },
        token: asToken(TOKEN_BASE + BigInt(token)),
      });
    }

    const read = async (sql: string): Promise<readonly (readonly SqlValue[])[]> =>
      (await sink.engine.use('test', (connection) => connection.query(sql))).rows;

    const report = (): Promise<readonly (readonly SqlValue[])[]> =>
      read(`SELECT name, n, total, low, high FROM sales WHERE case_no = ${sources} ORDER BY name`);

    const rowsLeft = async (): Promise<number> => {
      const { contributionTable } = sink.layout;
      const packed = `SELECT SUM(row_total) FROM ${contributionTable} WHERE source_id = ${sources}`;
      const stages = `SELECT COUNT(*) FROM tm_stage WHERE source_id = ${sources}`;
      return Number((await read(packed))[0]?.[0] ?? 0) + Number((await read(stages))[0]?.[0]);
    };

    const NAMES = ['ada', 'bob', 'cy', 'dan', 'eve', 'fay', 'gus'];
    const rowsOf = (amount: bigint, names = NAMES): WeightedRow[] =>
      names.map((name) => ({ name, amount, label: `l${amount}`, weight: 1n }));
    const shown = (amount: bigint, names = NAMES): SqlValue[][] =>
      names.map((name) => [name, 1n, amount, amount, `l${amount}`]);

    /** Gathers rows two by two, staging from the first on. */
    async function stage(
      input: StagingInput,
      rows: readonly WeightedRow[],
      context = sink.context,
    ): Promise<Contribution> {
      const whole = held(contributionOf(sources, rows));
      const gatherer = new Gatherer({
        heldMax: 0,
        rowsMax: 10_000_000,
        pieceRows: 2,
        stage: () => Staging.open(context, input),
      });
      for (const [pair, all] of [whole.additive, ...whole.multisets].entries()) {
        for (let from = 0; from < all.length; from += 3) await gatherer.take(pair, all.slice(from, from + 3));
      }
      return gatherer.end(whole.multisets.length);
    }

    const merge = (input: StagingInput, contribution: Contribution): ReturnType<typeof mergeContribution> =>
      mergeContribution(sink.context, { ...input, contribution });

    it('holds few rows, and stages more than it may hold', async () => {
      const task = await begin();
      const gatherer = new Gatherer({
        heldMax: 4,
        rowsMax: 10_000_000,
        pieceRows: 2,
        stage: () => Staging.open(sink.context, task(1)),
      });
      const whole = held(contributionOf(sources, rowsOf(1n)));
      await gatherer.take(0, whole.additive.slice(0, 4));
      expect(await rowsLeft()).toBe(0);
      await gatherer.take(0, whole.additive.slice(4));
      expect(await rowsLeft()).toBe(8);
      expect(await gatherer.end(2)).toMatchObject({ pieces: 4, rows: 7 });
    });

    it('shows nothing before the merge, and everything after it', async () => {
      const task = await begin();
      const staged = await stage(task(1), rowsOf(3n));
      expect(staged).toMatchObject({ pieces: 15, rows: 21 });
      expect(await report()).toEqual([]);
      expect(await merge(task(1), staged)).toEqual({ result: 'DONE', replaced: false, foundDone: false });
      expect(await report()).toEqual(shown(3n));
      expect(await merge(task(1), staged)).toMatchObject({ result: 'DONE', foundDone: true });
      expect(await rowsLeft()).toBe(21);
    });

    it('replaces a staged contribution, and is retracted', async () => {
      const task = await begin();
      await merge(task(1), await stage(task(1), rowsOf(3n)));
      const next = await stage(task(2), rowsOf(5n, ['bob', 'zoe']));
      expect(await merge(task(2), next)).toMatchObject({ result: 'DONE', replaced: true });
      expect(await report()).toEqual(shown(5n, ['bob', 'zoe']));
      expect(await retractContribution(sink.context, { ...task(3), reason: 'X' })).toBe('RETRACTED');
      expect(await report()).toEqual([]);
      await fold([1]);
      expect(await rowsLeft()).toBe(0);
    });

    rule('stage.leftoversCount', 'does not count what an attempt left that ended in the middle', async () => {
      const task = await begin();
      await merge(task(1), await stage(task(1), rowsOf(3n)));
      await stage(task(2), rowsOf(4n));
      expect(await merge(task(3), contributionOf(sources, rowsOf(5n)))).toMatchObject({ replaced: true });
      expect(await report()).toEqual(shown(5n));
      await retractContribution(sink.context, { ...task(4), reason: 'X' });
      expect(await report()).toEqual([]);
    });

    rule('stage.notCleared', 'begins again with an empty stage, under the same token too', async () => {
      const task = await begin();
      await stage(task(1), rowsOf(3n, ['only', 'these', 'were', 'there']));
      const again = await stage(task(1), rowsOf(4n));
      expect(await merge(task(1), again)).toMatchObject({ result: 'DONE' });
      expect(await report()).toEqual(shown(4n));
      expect(await rowsLeft()).toBe(21);
    });

    rule('stage.anyAttempt', 'merges what one attempt has staged, never what two of them did', async () => {
      const task = await begin();
      const first = await Staging.open(sink.context, task(1));
      const rows = held(contributionOf(sources, rowsOf(3n))).additive;
      expect(await first?.write(0, rows.slice(0, 3))).toBe(true);
      const second = await Staging.open(sink.context, task(1));
      expect(await first?.write(0, rows.slice(3))).toBe(false);
      expect(await merge(task(1), first?.staged ?? NOTHING)).toEqual({
        result: 'FENCED',
      });
      expect(await second?.write(0, rows)).toBe(true);
      await merge(task(1), second?.staged ?? NOTHING);
      expect((await report()).map((row) => row.slice(0, 3))).toEqual(shown(3n).map((row) => row.slice(0, 3)));
    });

    rule('stage.pieceTwice', 'writes a piece once whose COMMIT was not answered', async () => {
      const task = await begin();
      const context = { ...contextOf(sink.engine) };
      const staging = await Staging.open(context, task(1));
      const { engine, happened } = faultyEngine(sink.engine, 'answer lost');
      context.engine = engine;
      const { additive } = held(contributionOf(sources, rowsOf(3n)));
      expect(await staging?.write(0, additive)).toBe(true);
      expect(happened()).toBe(true);
      await merge(task(1), staging?.staged ?? NOTHING);
      expect((await report()).length).toBe(NAMES.length);
    });

    rule('stage.lostPiecePassed', 'begins again where the server has lost a piece', async () => {
      const task = await begin();
      const staging = await Staging.open(sink.context, task(1));
      const { additive } = held(contributionOf(sources, rowsOf(3n)));
      await staging?.write(0, additive.slice(0, 2));
      await staging?.write(0, additive.slice(2, 4));
      await read(`UPDATE tm_stage SET pieces = 1 WHERE source_id = ${sources}`);
      expect(await staging?.write(0, additive.slice(4))).toBe(false);
      expect(await merge(task(1), staging?.staged ?? NOTHING)).toEqual({ result: 'FENCED' });
      expect(await report()).toEqual([]);
    });

    rule(
      'stage.notFenced',
      'stages nothing for what stands, is a hole, is folded or has a newer version',
      async () => {
        const task = await begin();
        const older = await Staging.open(sink.context, task(1));
        const rows = held(contributionOf(sources, rowsOf(3n))).additive;
        await merge(task(2), contributionOf(sources, rowsOf(3n)));
        expect(await older?.write(0, rows)).toBe(false);
        expect(await Staging.open(sink.context, task(1))).toBeUndefined();
        expect(await Staging.open(sink.context, task(2))).toBeUndefined();
        await retractContribution(sink.context, { ...task(3, 2), reason: 'X' });
        expect(await Staging.open(sink.context, task(2, 2))).toBeUndefined();
        await fold([1]);
        expect(await Staging.open(sink.context, task(9))).toBeUndefined();
      },
    );

    rule('stage.clearsLive', 'clears nothing once another attempt is staging', async () => {
      const task = await begin();
      const first = await Staging.open(sink.context, task(1));
      const staged = await stage(task(1), rowsOf(4n));
      await clearStage(sink.context, task(1), {
        attempt: first?.staged.attempt ?? 0n,
        tokens: [task(1).token],
      });
      expect(await merge(task(1), staged)).toMatchObject({ result: 'DONE' });
      expect(await report()).toEqual(shown(4n));
    });

    it('clears what an older version has staged, not what has stood', async () => {
      const task = await begin();
      await merge(task(1), await stage(task(1), rowsOf(3n)));
      await stage(task(2), rowsOf(4n));
      expect(await rowsLeft()).toBe(43);
      const next = await stage(task(3), rowsOf(5n, ['bob', 'zoe']));
      expect(await rowsLeft()).toBe(28);
      expect(await merge(task(3), next)).toMatchObject({ result: 'DONE', replaced: true });
      await fold([1]);
      expect(await rowsLeft()).toBe(0);
      const shownRows = await read(`SELECT COUNT(*) FROM ${sink.layout.table} WHERE key_0 = ${sources}`);
      expect(shownRows).toEqual([[2n]]);
    });

    rule('fold.sweepsOnce', 'replaces, retracts and folds in pieces what is large', async () => {
      const task = await begin();
      const many = (count: number, weight: bigint): Contribution => ({
        additive: Array.from({ length: count }, (_, n) => [sources, Buffer.from(`n${n}`), weight, ...ZEROS]),
        multisets: [[], []],
      });
      await merge(task(1), many(5_400, 1n));
      await merge(task(2), many(5_300, 1n));
      await retractContribution(sink.context, { ...task(3), reason: 'X' });
      await merge(task(4), many(5_400, 1n));
      await merge(task(5, 2), many(5_400, -1n));
      await fold([1, 2]);
      expect(await rowsLeft()).toBe(0);
      expect(await read(`SELECT COUNT(*) FROM ${sink.layout.table} WHERE key_0 = ${sources}`)).toEqual([
        [0n],
      ]);
    });

    function fold(windows: readonly number[]): Promise<number> {
      return foldAndSweep(sink.context, {
        grant: sink.grant,
        layout: sink.layout,
        scope: { reportId: 7, generation: 1, sourceId: sources },
        spanEnds: windows.map((window) => ({ window, seal: TOKEN_BASE + BigInt(window) })),
      });
    }
  });
});
