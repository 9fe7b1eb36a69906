import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { asToken } from '../../src/base/fencing-token.ts';
import { setMutation } from '../../src/base/test-build-active.ts';
import { killMarked, withMarker } from '../../src/executor/marker.ts';
import { layoutOf } from '../../src/executor/sink/layout.ts';
import type { LedgerSpan } from '../../src/executor/sink/ledger.ts';
import { mergeContribution, type Contribution } from '../../src/executor/sink/merge.ts';
import { prepareReport } from '../../src/executor/sink/report-view.ts';
import type { SqlEngine, SqlValue } from '../../src/sql/index.ts';
import { freshEngine, type FreshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { faultyEngine } from './faulty-engine.ts';
import {
  contextOf,
  contributionOf,
  makeSink,
  registerSource,
  REPORT,
  TOKEN_BASE,
  type Sink,
} from './merge-fixture.ts';
import { prepareSink } from './sink-fixture.ts';

const token = (n: number): ReturnType<typeof asToken> => asToken(TOKEN_BASE + BigInt(n));

function spanOf(sourceId: number, window: number): LedgerSpan {
  return {
    reportId: 7,
    generation: 1,
    sourceId,
    firstWindow: window,
    lastWindow: window,
    part: 0,
    parts: 1,
    coversMs: window,
    position: String(window),
  };
}

const one = (name: string): { name: string; amount: bigint; label: string; weight: 1n } => ({
  name,
  amount: 3n,
  label: 'x',
  weight: 1n,
});

async function read(engine: SqlEngine, sql: string): Promise<readonly (readonly SqlValue[])[]> {
  const { rows } = await engine.use('test', (connection) => connection.query(sql));
  return rows;
}

describe.each(['embedded', 'mysql'] as const)('a report database on %s', (kind) => {
  describe.skipIf(kind === 'mysql' && mariadbMissing())('with a report', () => {
    let place: FreshEngine;
    let sink: Sink;
    let sourceOfLostAnswer = 510;

    beforeAll(async () => {
      place = await freshEngine(kind, 'sink');
      sink = await makeSink(place.engine);
    });

    afterAll(async () => {
      await place.close();
    });

    it('keeps its epoch against a lower one and its cluster against another', async () => {
      const { grant, engine } = sink;
      await expect(prepareSink(engine, grant)).rejects.toMatchObject({ code: 'SINK_EPOCH' });
      await expect(prepareSink(engine, { ...grant, epoch: token(1) })).rejects.toMatchObject({
        code: 'SINK_EPOCH',
        details: { standing: String(grant.epoch), granted: String(token(1)) },
      });
      await expect(
        prepareSink(engine, { clusterId: 'a'.repeat(32), epoch: token(900) }),
      ).rejects.toMatchObject({ code: 'SINK_OF_OTHER_CLUSTER' });
      expect(await read(engine, 'SELECT cluster_id, epoch FROM tm_sink')).toEqual([
        [grant.clusterId, grant.epoch],
      ]);
    });

    it('refuses a format that it does not know', async () => {
      const { grant, engine } = sink;
      await engine.use('test', (connection) => connection.query('UPDATE tm_sink SET format = 99'));
      await expect(prepareSink(engine, grant)).rejects.toMatchObject({ code: 'FORMAT_UNKNOWN' });
      await engine.use('test', (connection) => connection.query('UPDATE tm_sink SET format = 2'));
    });

    it.each([true, false])('finds out what became of a lost COMMIT (carried out: %s)', async (carriedOut) => {
      const sourceId = carriedOut ? 501 : 502;
      await registerSource(sink, spanOf(sourceId, 1), 'sales');
      const { engine, happened } = faultyEngine(sink.engine, carriedOut ? 'answer lost' : 'commit lost');
      const input = {
        grant: sink.grant,
        layout: sink.layout,
        span: spanOf(sourceId, 1),
        token: token(20),
        contribution: contributionOf(sourceId, [one('ada')]),
      };
      const merged = await mergeContribution({ ...sink.context, engine }, input);
      expect(happened()).toBe(true);
      expect(merged).toEqual({ result: 'DONE', replaced: false, foundDone: carriedOut });
      expect(await read(sink.engine, `SELECT n, total FROM sales WHERE case_no = ${sourceId}`)).toEqual([
        [1n, 3n],
      ]);
    });

    rule(
      'merge.keepOldContribution',
      'counts once what is merged again under a new token after the answer to its COMMIT was lost',
      async () => {
        sourceOfLostAnswer += 1;
        const span = spanOf(sourceOfLostAnswer, 1);
        await registerSource(sink, span, 'sales');
        const merge = (engine: SqlEngine, version: number, cancelled: boolean): Promise<unknown> =>
          mergeContribution(
            { ...sink.context, engine, cancelled: () => cancelled },
            {
              grant: sink.grant,
              layout: sink.layout,
              span,
              token: token(30_000 + version),
              contribution: contributionOf(span.sourceId, [one('ada')]),
            },
          );
        // Its executor ends before it can ask again, and the task gets its next version.
        const { engine } = faultyEngine(sink.engine, 'answer lost');
        await expect(merge(engine, 1, true)).rejects.toMatchObject({ code: 'DB_OUTCOME_UNKNOWN' });
        expect(await merge(sink.engine, 2, false)).toMatchObject({ result: 'DONE', replaced: true });
        const shown = `SELECT n, total FROM sales WHERE case_no = ${span.sourceId}`;
        expect(await read(sink.engine, shown)).toEqual([[1n, 3n]]);
      },
    );

    /** Window 1 of one source under a higher token than window 1 of another: what becomes of the later. */
    const secondOfTwo = async (first: number, second: number): Promise<unknown> => {
      const merge = async (sourceId: number, version: number): Promise<unknown> => {
        const span = spanOf(sourceId, 1);
        await registerSource(sink, span, 'sales');
        const contribution = contributionOf(sourceId, [one('ada')]);
        const { grant, layout } = sink;
        return mergeContribution(sink.context, { grant, layout, span, token: token(version), contribution });
      };
      expect(await merge(first, 40_002)).toMatchObject({ result: 'DONE', foundDone: false });
      return merge(second, 40_001);
    };
    const mergedOf = (source: number): Promise<readonly (readonly SqlValue[])[]> =>
      read(sink.engine, `SELECT n, total FROM sales WHERE case_no = ${source}`);

    it('keeps windows of one number apart that are of two sources', async () => {
      expect(await secondOfTwo(701, 702)).toMatchObject({
        result: 'DONE',
        foundDone: false,
        replaced: false,
      });
      expect(await mergedOf(701)).toEqual([[1n, 3n]]);
      expect(await mergedOf(702)).toEqual([[1n, 3n]]);
    });

    it('is seen to refuse the second source where the ledger does not name it', async () => {
      setMutation('merge.ledgerWithoutSource', true);
      onTestFinished(() => {
        setMutation('merge.ledgerWithoutSource', false);
      });
      expect(await secondOfTwo(703, 704)).toMatchObject({ result: 'FENCED' });
      expect(await mergedOf(703)).toEqual([[1n, 3n]]);
      expect(await mergedOf(704)).toEqual([]);
    });

    it('merges different windows on the same keys at once', async () => {
      const windows = 24;
      await registerSource(sink, spanOf(600, 1), 'sales');
      const names = ['d', 'b', 'a', 'c'];
      const merge = (window: number, version: number): Promise<unknown> => {
        // Every second version names the keys in another order.
        const rows = (version % 2 === 0 ? names : names.toReversed()).map(one);
        return mergeContribution(sink.context, {
          grant: sink.grant,
          layout: sink.layout,
          span: spanOf(600, window),
          token: token(1_000 + version * 100 + window),
          contribution: contributionOf(600, rows),
        });
      };
      const attempts = Array.from({ length: windows }, (_, index) => index + 1);
      await Promise.all(attempts.flatMap((window) => [merge(window, 1), merge(window, 2)]));
      const total = BigInt(windows) * 3n;
      expect(
        await read(sink.engine, 'SELECT name, n, total FROM sales WHERE case_no = 600 ORDER BY name'),
      ).toEqual(names.toSorted().map((name) => [name, BigInt(windows), total]));
    });

    it('lets racing copies of a version and the next version end in the next version, once', async () => {
      const windows = 12;
      await registerSource(sink, spanOf(650, 1), 'sales');
      const merge = (window: number, version: number): ReturnType<typeof mergeContribution> =>
        mergeContribution(sink.context, {
          grant: sink.grant,
          layout: sink.layout,
          span: spanOf(650, window),
          token: token(20_000 + window * 10 + version),
          contribution: contributionOf(650, [{ ...one('ada'), amount: BigInt(version) }]),
        });
      const race = async (window: number): Promise<void> => {
        const [copy, other, next] = await Promise.all([merge(window, 1), merge(window, 1), merge(window, 2)]);
        expect(next).toMatchObject({ result: 'DONE', foundDone: false });
        const counted = [copy, other].filter((merged) => merged.result === 'DONE' && !merged.foundDone);
        // Either the older version was in time, then the next one replaced it, or it was fenced.
        expect(next).toMatchObject({ replaced: counted.length === 1 });
        expect(counted.length).toBeLessThanOrEqual(1);
      };
      await Promise.all(Array.from({ length: windows }, (_, index) => race(index + 1)));
      const count = BigInt(windows);
      expect(await read(sink.engine, 'SELECT n, total, low FROM sales WHERE case_no = 650')).toEqual([
        [count, 2n * count, 2n],
      ]);
      expect(await read(sink.engine, 'SELECT last_window FROM tm_watermark WHERE source_id = 650')).toEqual([
        [count],
      ]);
    });

    it('refuses a sum that outgrows 64 bits, and changes nothing', async () => {
      await registerSource(sink, spanOf(700, 1), 'sales');
      const merge = (window: number): Promise<unknown> =>
        mergeContribution(sink.context, {
          grant: sink.grant,
          layout: sink.layout,
          span: spanOf(700, window),
          token: token(5_000 + window),
          contribution: contributionOf(700, [{ ...one('big'), amount: 2n ** 62n }]),
        });
      await merge(1);
      await expect(merge(2)).rejects.toMatchObject({ code: 'VALUE_RANGE' });
      expect(await read(sink.engine, 'SELECT n, total FROM sales WHERE case_no = 700')).toEqual([
        [1n, 2n ** 62n],
      ]);
      expect(await read(sink.engine, 'SELECT applied FROM tm_ledger WHERE source_id = 700')).toEqual([
        [token(5_001)],
      ]);
    });
  });
});

describe.skipIf(mariadbMissing())('a report database on MariaDB alone', () => {
  let place: FreshEngine;
  let sink: Sink;

  beforeAll(async () => {
    place = await freshEngine('mysql', 'sink');
    sink = await makeSink(place.engine);
  });

  afterAll(async () => {
    await place.close();
  });

  it('keeps DECIMAL sums and averages exact', async () => {
    const report = {
      ...REPORT,
      name: 'money',
      keys: [{ name: 'name', type: 'TEXT(16)', nullable: false }],
      measures: [
        { name: 'total', kind: 'sum', type: 'DECIMAL(30,4)' },
        { name: 'mean', kind: 'avg', type: 'DECIMAL(30,4)' },
        { name: 'low', kind: 'min', type: 'DECIMAL(30,4)' },
      ],
    } as const;
    const layout = layoutOf({ reportId: 8, generation: 1 }, report);
    await prepareReport(sink.engine, { ...sink.grant, prepared: token(1), sourceId: 1 }, layout);
    await registerSource(sink, { ...spanOf(1, 1), reportId: 8 }, 'money');
    const name = Buffer.from('ada');
    const amounts = ['90071992547409931234.5678', '-0.0001'];
    for (const [index, amount] of amounts.entries()) {
      const contribution: Contribution = {
        additive: [[name, 1n, amount, 1n, amount, 1n]],
        multisets: [[[name, amount, 1n]]],
      };
      const span = { ...spanOf(1, index + 1), reportId: 8 };
      await mergeContribution(sink.context, {
        grant: sink.grant,
        layout,
        span,
        token: token(30),
        contribution,
      });
    }
    expect(await read(sink.engine, 'SELECT name, total, mean, low FROM money')).toEqual([
      ['ada', '90071992547409931234.5677', '45035996273704965617.28385000', '-0.0001'],
    ]);
  });

  it('kills a connection that an earlier grant left with its locks', async () => {
    const span = spanOf(800, 1);
    await registerSource(sink, span, 'sales');
    // A stopped executor: inside its transaction, holding locks, saying nothing more.
    const stopped = await sink.engine.connect({ purpose: 'stopped' });
    let release: (() => void) | undefined;
    const marker = 'tidemark cccc 77';
    const held = withMarker(sink.engine, stopped, marker, async () => {
      await stopped.begin('write');
      await stopped.query('UPDATE tm_fold SET folded_window = 0 WHERE source_id = 800');
      await stopped.query('SELECT * FROM tm_fold WHERE source_id = 800 FOR UPDATE');
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    });
    const settled = held.then(
      () => 'ended',
      (error: unknown) => error,
    );
    await expect.poll(() => read(sink.engine, `SELECT IS_USED_LOCK('${marker}')`)).not.toEqual([[null]]);
    await expect.poll(() => release).toBeDefined();
    expect(await killMarked(sink.engine, [marker, 'tidemark cccc 78'])).toBe(1);
    const shown = await read(
      sink.engine,
      `SELECT COUNT(*) FROM information_schema.processlist WHERE id = ${stopped.id}`,
    );
    expect(shown).toEqual([[0n]]);
    const merged = await mergeContribution(contextOf(sink.engine), {
      grant: sink.grant,
      layout: sink.layout,
      span,
      token: token(40),
      contribution: contributionOf(800, [one('ada')]),
    });
    expect(merged).toMatchObject({ result: 'DONE' });
    release?.();
    await settled;
    stopped.destroy();
  });
});
