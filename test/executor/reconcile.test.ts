/**
 * A report database that does not say what the cluster says: put under a fresh epoch, it says no more than
 * that.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { asToken } from '../../src/base/fencing-token.ts';
import { KNOWN_STATE, stageKnown, type KnownTask } from '../../src/executor/sink/known-tasks.ts';
import { mergeContribution, type MergeResult } from '../../src/executor/sink/merge.ts';
import { probeSink } from '../../src/executor/sink/probe.ts';
import { setEpoch, type KnownSink } from '../../src/executor/sink/reconcile.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import { reportDefinition } from '../../src/wire/index.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { contributionOf, makeSink, TOKEN_BASE, type Sink } from './merge-fixture.ts';
import { piecesOf, reconcile, type Reconciled } from './sink-fixture.ts';

const token = (n: number): ReturnType<typeof asToken> => asToken(TOKEN_BASE + BigInt(n));
const SOURCE = 0;

let folder = '';
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-reconcile-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A task as a cluster knows it; the number is that of its token. */
function known(window: number, n: number, state: KnownTask['state'] = KNOWN_STATE.done, seal = 1): KnownTask {
  const span = { sourceId: SOURCE, firstWindow: window, lastWindow: window, part: 0 };
  return { reportId: 7, generation: 1, ...span, token: token(n), state, seal: token(seal) };
}

/** A report database with a story, made anew for each rule: the rule runs with and without its line. */
class Story {
  readonly sink: Sink;

  constructor(sink: Sink) {
    this.sink = sink;
  }

  static async begin(engine?: SqlEngine): Promise<Story> {
    files += 1;
    const own = engine ?? openEngine({ kind: 'embedded', file: join(folder, `reports-${files}.db`) });
    const story = new Story(await makeSink(own));
    for (const window of [1, 2, 3]) await story.merge(window, 10 + window);
    return story;
  }

  merge(window: number, n: number, epoch = this.sink.grant.epoch, lastWindow = window): Promise<MergeResult> {
    const { grant, layout, context } = this.sink;
    const row = { name: `w${window}`, weight: 1n, amount: BigInt(window), label: 'x' } as const;
    const scope = { reportId: 7, generation: 1, sourceId: SOURCE };
    const span = {
      firstWindow: window,
      lastWindow,
      part: 0,
      parts: 1,
      coversMs: window,
      position: 'p',
    };
    return mergeContribution(context, {
      grant: { ...grant, epoch },
      layout,
      span: { ...scope, ...span },
      token: token(n),
      contribution: contributionOf(1, [row]),
    });
  }

  reconcile(tasks: readonly KnownTask[], change: Partial<KnownSink> = {}): Promise<Reconciled> {
    const { engine, grant, layout } = this.sink;
    const generation = { layout, sourceId: SOURCE, keptFrom: 1, prepared: true };
    const sink = { ...grant, epoch: token(100), formerIds: [], generations: [generation], ...change };
    return reconcile(engine, sink, tasks);
  }

  /** As if these windows had been merged without a row. */
  async record(first: number, last: number, parts = 1): Promise<void> {
    const zeros = { parts, merged_rows: 0, hole: 0, covers_ms: 0, position_text: '', reason: '' };
    const columns = ['report_id', 'generation', 'source_id', 'part', 'first_window', 'last_window'];
    const rows = Array.from({ length: (last - first + 1) * parts }, (_, at) => {
      const window = first + Math.floor(at / parts);
      return [
        ...[7, 1, SOURCE, at % parts, window, window],
        ...[token(20), token(20)],
        ...Object.values(zeros),
      ];
    });
    const all = [...columns, 'applied', 'floor_token', ...Object.keys(zeros)];
    await this.sink.engine.use('test', (connection) => connection.insertRows('tm_ledger', all, rows));
  }

  async read(sql: string): Promise<readonly (readonly SqlValue[])[]> {
    return (await this.sink.engine.use('test', (connection) => connection.query(sql))).rows;
  }

  /** The sum of all windows that the report shows, and as many members of its multisets as there are. */
  async shown(): Promise<[windows: number, members: number]> {
    const [sums] = await this.read('SELECT COALESCE(SUM(sum_1), 0) FROM tm_report_7_1');
    const [members] = await this.read('SELECT COALESCE(SUM(weight), 0) FROM tm_multiset_7_1_3');
    return [Number(sums?.[0]), Number(members?.[0])];
  }

  async watermark(): Promise<number> {
    return Number((await this.read('SELECT last_window FROM tm_watermark'))[0]?.[0]);
  }
}

const TASKS = [known(1, 11), known(2, 12), known(3, 13)];

describe('under a fresh epoch, a report database', () => {
  it('keeps what the cluster stands for, and refuses the old epoch', async () => {
    const story = await Story.begin();
    expect(await story.reconcile(TASKS)).toMatchObject({ lacking: [], missing: [] });
    expect(await story.shown()).toEqual([6, 3]);
    expect(await story.watermark()).toBe(3);
    expect(await codeOf(story.merge(4, 14))).toBe('SINK_EPOCH');
    expect(await story.merge(4, 114, token(100))).toMatchObject({ result: 'DONE' });
  });

  rule('sink.keepsUnknown', 'loses what was granted by nobody that the cluster knows of', async () => {
    const story = await Story.begin();
    // Window 2 was never granted, window 3 under another token.
    await story.reconcile([known(1, 11), known(3, 9)]);
    expect(await story.shown()).toEqual([1, 1]);
  });

  rule('sink.keepsSkipped', 'loses the contribution of a task that is on its way to a hole', async () => {
    const story = await Story.begin();
    await story.reconcile([known(1, 11), known(2, 52, KNOWN_STATE.leaving), known(3, 13)]);
    expect(await story.shown()).toEqual([4, 2]);
  });

  rule('sink.keepsBelowSeal', 'loses contributions of windows that were sealed again', async () => {
    const story = await Story.begin();
    const { lacking } = await story.reconcile([
      known(1, 11),
      known(2, 12),
      known(3, 60, KNOWN_STATE.open, 50),
    ]);
    expect(await story.shown()).toEqual([3, 2]);
    expect(lacking).toEqual([]);
  });

  rule(
    'sink.unknownRowsKept',
    'keeps nothing of spans that a restored cluster cuts in another way',
    async () => {
      const story = await Story.begin();
      await story.reconcile([known(1, 11)]);
      await story.merge(4, 114, token(100));
      // Windows 2 and 3 are one span now.
      await story.merge(2, 112, token(100), 3);
      expect(await story.watermark()).toBe(4);
    },
  );

  rule('sink.tablesNotLooked', 'lacks a generation that lost a table; the rest of it goes', async () => {
    const story = await Story.begin();
    await story.read('DROP TABLE tm_contribution_7_1');
    const { missing, folds, lacking } = await story.reconcile(TASKS);
    expect([missing, folds, lacking]).toEqual([
      [reportDefinition(7, 1)],
      [],
      ['7/1/1/0', '7/1/2/0', '7/1/3/0'],
    ]);
    expect(await story.shown()).toEqual([0, 0]);
  });

  rule(
    'sink.olderStagingDropped',
    'keeps what it has when a later try begins before it is done',
    async () => {
      const story = await Story.begin();
      const { engine, grant, layout } = story.sink;
      const generation = { layout, sourceId: SOURCE, keptFrom: 1, prepared: true };
      const staged = await stageKnown(engine, token(100), piecesOf(TASKS));
      await stageKnown(engine, token(101), piecesOf([]));
      const sink = { ...grant, epoch: token(100), formerIds: [], generations: [generation] };
      await setEpoch(engine, sink, staged);
      expect(await story.shown()).toEqual([6, 3]);
    },
  );

  rule('sink.knownInPart', 'keeps what it has where pieces of what is known were lost', async () => {
    const story = await Story.begin();
    const { engine, grant, layout } = story.sink;
    const generation = { layout, sourceId: SOURCE, keptFrom: 1, prepared: true };
    const sink = { ...grant, epoch: token(100), formerIds: [], generations: [generation] };
    const staged = await stageKnown(engine, sink.epoch, piecesOf(TASKS));
    // As on a replica that took over before the last piece had reached it.
    await story.read('DELETE FROM tm_known WHERE first_window = 3');
    expect(await codeOf(setEpoch(engine, sink, staged))).toBe('SINK_LOSS');
    expect(await story.shown()).toEqual([6, 3]);
    expect(await story.read('SELECT epoch FROM tm_sink')).toEqual([[grant.epoch]]);
  });

  rule('sink.foldMarkLost', 'begins with nothing where the fold mark is lost', async () => {
    const story = await Story.begin();
    // Window 1 was folded: only the report has it.
    await story.read('DELETE FROM tm_ledger WHERE first_window = 1');
    await story.read('DELETE FROM tm_fold');
    const { missing, lacking } = await story.reconcile(TASKS);
    expect([missing, lacking]).toEqual([[reportDefinition(7, 1)], ['7/1/1/0', '7/1/2/0', '7/1/3/0']]);
    expect(await story.shown()).toEqual([0, 0]);
  });

  rule('sink.missingTableIsFinal', 'says of a merge that found no table that it has lost it', async () => {
    const story = await Story.begin();
    await story.read('DROP TABLE tm_fold');
    expect(await codeOf(story.merge(4, 14))).toBe('SINK_LOSS');
  });

  rule('sink.floorNotRaised', 'fences what was granted before, also under the fresh epoch', async () => {
    const story = await Story.begin();
    await story.reconcile([known(1, 11), known(2, 12), known(3, 9, KNOWN_STATE.open)]);
    expect(await story.merge(3, 99, token(100))).toEqual({ result: 'FENCED' });
  });

  rule('sink.watermarkKept', 'says no more than its ledger', async () => {
    const story = await Story.begin();
    await story.reconcile([known(1, 11), known(3, 13)]);
    expect(await story.watermark()).toBe(1);
  });

  rule('merge.walkEndsInSpan', 'has a watermark that walks over any number of parts', async () => {
    const story = await Story.begin();
    await story.record(4, 240, 3);
    await story.merge(241, 30);
    expect(await story.watermark()).toBe(241);
  });

  rule('sink.doneNotCompared', 'tells which finished tasks it lacks', async () => {
    const story = await Story.begin();
    const { lacking } = await story.reconcile([...TASKS.slice(0, 2), known(3, 14), known(4, 15)]);
    expect(lacking).toEqual(['7/1/3/0', '7/1/4/0']);
  });

  rule('sink.holesNotCompared', 'tells which holes it lacks', async () => {
    const story = await Story.begin();
    const { lacking } = await story.reconcile([...TASKS, known(4, 15, KNOWN_STATE.hole)]);
    expect(lacking).toEqual(['7/1/4/0']);
  });

  rule(
    'sink.higherTermTaken',
    'stops a cluster whose term is too low, and names the one needed',
    async () => {
      const story = await Story.begin();
      const term = 39_000n;
      const low = story.reconcile(TASKS, { epoch: asToken((term << 40n) + 1n) });
      await expect(low).rejects.toMatchObject({ code: 'SINK_AHEAD', details: { neededTerm: '40001' } });
      expect(await story.shown()).toEqual([6, 3]);
    },
  );

  rule(
    'sink.foreignTaken',
    'is taken over by the restored self of its cluster, and by no other',
    async () => {
      const story = await Story.begin();
      const clusterId = 'a'.repeat(32);
      expect(await codeOf(story.reconcile(TASKS, { clusterId }))).toBe('SINK_OF_OTHER_CLUSTER');
      await story.reconcile(TASKS, { clusterId, formerIds: [story.sink.grant.clusterId] });
      expect(await codeOf(story.merge(4, 14, token(100)))).toBe('SINK_OF_OTHER_CLUSTER');
    },
  );

  rule('sink.serverIgnored', 'is not written to on another server than where the epoch was set', async () => {
    const story = await Story.begin();
    await story.read("UPDATE tm_sink SET server = 'another'");
    expect(await codeOf(story.merge(4, 14))).toBe('SINK_SERVER');
  });

  rule('sink.lossUnnoticed', 'shows what it lost by what a probe looks for', async () => {
    const { sink, read } = await Story.begin().then((story) => ({
      sink: story.sink,
      read: (sql: string) => story.read(sql),
    }));
    const folds = [{ reportId: 7, generation: 1, sourceId: SOURCE, folded: 0 }];
    await probeSink(sink.engine, sink.grant, { folds, tasks: TASKS });
    await read('DELETE FROM tm_ledger WHERE first_window = 3');
    expect(await codeOf(probeSink(sink.engine, sink.grant, { folds, tasks: TASKS }))).toBe('SINK_LOSS');
  });

  rule('sink.foldLossUnnoticed', 'shows that it is folded less far than it was', async () => {
    const story = await Story.begin();
    const { engine, grant } = story.sink;
    const folds = [{ reportId: 7, generation: 1, sourceId: SOURCE, folded: 2 }];
    await story.read('UPDATE tm_fold SET folded_window = 2');
    await probeSink(engine, grant, { folds, tasks: TASKS });
    await story.read('UPDATE tm_fold SET folded_window = 1');
    expect(await codeOf(probeSink(engine, grant, { folds, tasks: TASKS }))).toBe('SINK_LOSS');
  });

  it('that lacks a whole generation says so', async () => {
    const story = await Story.begin();
    const { table, multisets } = story.sink.layout;
    const own = [table, ...multisets.map((multiset) => multiset.table)];
    for (const name of ['tm_fold', 'tm_ledger', ...own]) await story.read(`DELETE FROM ${name}`);
    expect(await story.reconcile(TASKS)).toMatchObject({ missing: [reportDefinition(7, 1)] });
  });

  rule('sink.mixedTaken', 'whose tables are of different times has its reports built anew', async () => {
    const story = await Story.begin();
    // A dump has brought the fold marks back; the epoch that was set then is overwritten by the same dump.
    await story.reconcile(TASKS);
    await story.merge(4, 114, token(100));
    await story.read(`UPDATE tm_sink SET epoch = ${token(50)}`);
    expect(await story.reconcile([...TASKS, known(4, 114)], { epoch: token(200) })).toMatchObject({
      missing: [reportDefinition(7, 1)],
      folds: [],
    });
    expect(await story.read('SELECT COUNT(*) FROM tm_ledger')).toEqual([[0n]]);
  });

  it('that was put back as a whole is compared, and nothing is built anew', async () => {
    const story = await Story.begin();
    const tables = ['tm_sink', 'tm_fold'];
    await story.reconcile(TASKS);
    for (const table of tables) await story.read(`UPDATE ${table} SET epoch = ${token(50)}`);
    const found = await story.reconcile([...TASKS, known(4, 114)], { epoch: token(200) });
    expect(found).toMatchObject({ missing: [], lacking: ['7/1/4/0'] });
  });

  rule('sink.foldOfOtherEpoch', 'takes no merge where they are', async () => {
    const story = await Story.begin();
    await story.read(`UPDATE tm_fold SET epoch = ${token(4)}`);
    expect(await codeOf(story.merge(4, 14))).toBe('SINK_EPOCH');
  });

  it('that is restored in part only is refused with a code', async () => {
    const story = await Story.begin();
    await story.read('DELETE FROM tm_watermark');
    expect(await codeOf(story.reconcile(TASKS))).toBe('SINK_LOSS');
  });
});

describe.each(['embedded', 'mysql'] as const)('more than one statement takes, on %s', (kind) => {
  let drop = (): Promise<void> => Promise.resolve();
  let engine: SqlEngine | undefined;

  beforeEach(async () => {
    if (kind === 'embedded' || mariadbMissing()) return;
    const database = await freshDatabase('reconcile');
    engine = openEngine({ kind: 'mysql', url: database.url });
    drop = () => database.drop();
  });
  afterEach(async () => {
    await engine?.close();
    await drop();
  });

  it.skipIf(kind === 'mysql' && mariadbMissing())('is retracted and told all the same', async () => {
    const story = await Story.begin(engine);
    await story.record(4, 450);
    const lost = Array.from({ length: 1_100 }, (_, at) => known(1_001 + at, 20));
    const { lacking } = await story.reconcile([known(1, 11), known(3, 13), ...lost]);
    expect(lacking).toHaveLength(1_100);
    expect(await story.shown()).toEqual([4, 2]);
    expect(await story.watermark()).toBe(1);
    const [standing] = await story.read('SELECT COUNT(*) FROM tm_ledger WHERE applied <> 0');
    expect(standing).toEqual([2n]);
    expect(await story.read('SELECT COUNT(*) FROM tm_known')).toEqual([[0n]]);
  });
});
