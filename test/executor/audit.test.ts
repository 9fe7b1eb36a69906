/** Each difference that an audit knows, planted in a report database or a store shard that was right. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken } from '../../src/base/fencing-token.ts';
import {
  auditGenerations,
  auditLedger,
  auditMarks,
  auditOwner,
  auditStates,
  type AuditedGeneration,
  type Difference,
} from '../../src/executor/audit/index.ts';
import { KNOWN_STATE, type KnownTask } from '../../src/executor/sink/known-tasks.ts';
import { mergeContribution } from '../../src/executor/sink/merge.ts';
import { retractContribution } from '../../src/executor/sink/retract.ts';
import { openEngine, type SqlConnection, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { contributionOf, makeSink, TOKEN_BASE, type Sink } from './merge-fixture.ts';

const token = (n: number): ReturnType<typeof asToken> => asToken(TOKEN_BASE + BigInt(n));
const SCOPE = { reportId: 7, generation: 1, sourceId: 0 };

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-audit-'));
});
afterAll(() => rm(folder, { recursive: true }));

function known(window: number, n: number, state: KnownTask['state'] = KNOWN_STATE.done): KnownTask {
  return { ...SCOPE, firstWindow: window, lastWindow: window, part: 0, token: token(n), state, seal: 1n };
}

/** Windows 1, 2 and 4 are merged, 3 is a hole, 5 is under way and has left an older version there. */
const TASKS = [
  known(1, 11),
  known(2, 12),
  known(3, 13, KNOWN_STATE.hole),
  known(4, 14),
  known(5, 25, KNOWN_STATE.open),
];

class Story {
  readonly #sink: Sink;

  private constructor(sink: Sink) {
    this.#sink = sink;
  }

  static async begin(engine: SqlEngine): Promise<Story> {
    const story = new Story(await makeSink(engine));
    for (const window of [1, 2, 4, 5]) await story.#merge(window, 10 + window);
    const { grant, layout, context } = story.#sink;
    const span = story.#span(3);
    await retractContribution(context, { grant, layout, span, token: token(13), reason: 'KEY_NULL' });
    return story;
  }

  #span(window: number): Parameters<typeof mergeContribution>[1]['span'] {
    const span = { firstWindow: window, lastWindow: window, part: 0, parts: 1 };
    return { ...SCOPE, ...span, coversMs: window, position: 'p' };
  }

  async #merge(window: number, n: number): Promise<void> {
    const { grant, layout, context } = this.#sink;
    const row = { name: `w${window}`, weight: 1n, amount: BigInt(window), label: 'x' } as const;
    const contribution = contributionOf(1, [row]);
    const span = this.#span(window);
    await mergeContribution(context, { grant, layout, span, token: token(n), contribution });
  }

  /**
   * What an executor finds at a leader that knows these tasks, after these statements, which are then taken
   * back (on MariaDB not those that make or drop a table).
   */
  async look(
    statements: readonly string[] = [],
    tasks: readonly KnownTask[] = TASKS,
    change: Partial<AuditedGeneration> = {},
  ): Promise<Difference[]> {
    const { engine, layout, grant } = this.#sink;
    const folded = { window: 0, seal: 0n };
    const generation = {
      layout,
      sourceId: 0,
      keptFrom: 1,
      prepared: true,
      folded,
      finalWindow: 4,
      ...change,
    };
    const everything = { first: 0, last: Number.MAX_SAFE_INTEGER };
    return engine.use('test', async (connection: SqlConnection) => {
      await connection.begin('write');
      for (const sql of statements) await connection.query(sql);
      const owner = await auditOwner(connection, engine.dialect, grant);
      const found = [
        ...(owner === undefined ? [] : [owner]),
        ...(await auditGenerations(connection, [generation])),
        ...(await auditMarks(connection, engine.dialect, generation)),
        ...(await auditLedger(connection, engine.dialect, generation, everything, tasks)),
      ];
      await connection.rollback();
      return found;
    });
  }

  async codes(...asked: Parameters<Story['look']>): Promise<string[]> {
    return (await this.look(...asked)).map(({ code, firstWindow }) => `${code} ${firstWindow}`);
  }

  close(): Promise<void> {
    return this.#sink.engine.close();
  }
}

describe('an audit of a report database', () => {
  let story: Story;
  beforeAll(async () => {
    story = await Story.begin(openEngine({ kind: 'embedded', file: join(folder, 'reports.db') }));
  });
  afterAll(() => story.close());

  const planted = (...asked: Parameters<Story['look']>): Promise<string[]> => story.codes(...asked);

  it('finds nothing where all is right, and tells what both sides say where it is not', async () => {
    expect(await story.look()).toEqual([]);
    const [found] = await story.look([`UPDATE tm_ledger SET applied = ${token(9)} WHERE first_window = 2`]);
    expect(found).toMatchObject({ code: 'LEDGER_TOKEN', reportId: 7n, generation: 1n, firstWindow: 2n });
    expect(found?.log).toBe(`merged under token ${token(12)}, windows 2-2`);
    expect(found?.database).toBe(`token ${token(9)}, floor ${token(12)}, windows 2-2`);
  });

  rule('audit.missingPassed', 'sees a ledger row that is gone, of a merge and of a hole', async () => {
    expect(
      await planted([
        'DELETE FROM tm_ledger WHERE first_window IN (2, 3)',
        'DELETE FROM tm_contribution_7_1 WHERE first_window = 2',
        'UPDATE tm_watermark SET last_window = 1, holes = 0',
      ]),
    ).toEqual(expect.arrayContaining(['LEDGER_MISSING 2', 'LEDGER_MISSING 3']));
  });

  rule('audit.tokenPassed', 'sees a token that is not the one that the log has', async () => {
    const lower = `UPDATE tm_ledger SET applied = applied - 1, floor_token = floor_token - 1`;
    expect(await planted([`${lower} WHERE first_window = 4`])).toContain('LEDGER_TOKEN 4');
  });

  rule('audit.aheadPassed', 'sees a token that was never granted to a task under way', async () => {
    expect(await planted([], [...TASKS.slice(0, 4), known(5, 10, KNOWN_STATE.open)])).toEqual([
      'LEDGER_TOKEN 5',
    ]);
  });

  rule('audit.unknownPassed', 'sees a row of a task that the log does not know', async () => {
    expect(await planted([], TASKS.slice(0, 4))).toEqual(['LEDGER_UNKNOWN 5']);
  });

  rule('audit.spanPassed', 'sees a row of other windows', async () => {
    const wider = 'UPDATE tm_ledger SET last_window = 6 WHERE first_window = 5';
    expect(await planted([wider, 'UPDATE tm_watermark SET last_window = 6'])).toEqual(['LEDGER_SPAN 5']);
  });

  rule('audit.holePassed', 'sees a hole that the log does not know', async () => {
    expect(
      await planted([
        'UPDATE tm_ledger SET hole = 1 WHERE first_window = 4',
        'UPDATE tm_watermark SET holes = 2',
      ]),
    ).toEqual(['LEDGER_HOLE 4']);
  });

  rule('audit.noHolePassed', 'sees a hole that is not there', async () => {
    expect(
      await planted([
        'UPDATE tm_ledger SET hole = 0 WHERE first_window = 3',
        'UPDATE tm_watermark SET last_window = 2, holes = 0',
      ]),
    ).toEqual(['LEDGER_HOLE 3']);
  });

  rule('audit.floorPassed', 'sees a hole that an older merge could fill', async () => {
    const lower = 'UPDATE tm_ledger SET floor_token = floor_token - 1 WHERE first_window = 3';
    expect(await planted([lower])).toEqual(['LEDGER_TOKEN 3']);
  });

  rule('audit.rowsPassed', 'sees contributions whose rows are gone, or under another token', async () => {
    expect(
      await planted([
        'UPDATE tm_contribution_7_1 SET token = token - 1 WHERE first_window = 1',
        'DELETE FROM tm_contribution_7_1 WHERE first_window = 4',
      ]),
    ).toEqual(['CONTRIBUTION_ROWS 1', 'CONTRIBUTION_ROWS 4']);
  });

  it('sees contributions whose rows cannot be read any more', async () => {
    const cut = 'UPDATE tm_contribution_7_1 SET body = substr(body, 1, 5) WHERE first_window = 1';
    expect(await planted([cut])).toEqual(['CONTRIBUTION_ROWS 1']);
  });

  it('passes over packs that do not stand: of another attempt, or replaced', async () => {
    const values = 'pair, piece, lowers, row_total, body';
    const copy = (token: string): string =>
      `INSERT INTO tm_contribution_7_1 (source_id, first_window, part, token, ${values}) ` +
      `SELECT source_id, first_window, part, ${token}, ${values} FROM tm_contribution_7_1 ` +
      'WHERE first_window = 1';
    expect(await planted([copy('1'), copy('token + 1')])).toEqual([]);
  });

  rule('audit.watermarkPassed', 'sees a watermark that the ledger does not vouch for', async () => {
    expect(await planted(['UPDATE tm_watermark SET last_window = 9'])).toEqual(['WATERMARK_WRONG 5']);
  });

  it('sees a number of holes that the ledger does not have, and a watermark that is gone', async () => {
    expect(await planted(['UPDATE tm_watermark SET holes = 0'])).toEqual(['WATERMARK_WRONG 5']);
    expect(await planted(['DELETE FROM tm_watermark'])).toEqual(['WATERMARK_MISSING 0']);
  });

  rule('audit.foldBehindPassed', 'sees a fold mark behind what the log was told', async () => {
    const folded = { window: 2, seal: token(1) };
    expect(await planted([], TASKS, { folded })).toEqual(['FOLD_MARK_BEHIND 0']);
  });

  rule('audit.foldAheadPassed', 'sees a fold mark beyond what is final', async () => {
    const ahead = `UPDATE tm_fold SET folded_window = 5, folded_seal = ${token(1)}`;
    expect(await planted([ahead])).toContain('FOLD_MARK_AHEAD 5');
  });

  rule('audit.foldSealPassed', 'sees a fold mark of other windows', async () => {
    const mark = `UPDATE tm_fold SET folded_window = 2, folded_seal = ${token(1)}`;
    const folded = { window: 2, seal: token(2) };
    expect(await planted([mark], TASKS, { folded })).toEqual(['FOLD_MARK_SEAL 2']);
  });

  rule('audit.foldMissingPassed', 'sees that a fold mark is gone', async () => {
    expect(await planted(['DELETE FROM tm_fold'])).toContain('FOLD_MARK_MISSING 0');
  });

  rule('audit.tablePassed', 'sees that a table is gone', async () => {
    const found = await planted(['DROP TABLE tm_multiset_7_1_3', 'DROP TABLE tm_contribution_7_1']);
    expect(found).toEqual(['TABLE_MISSING 0', 'TABLE_MISSING 0']);
  });

  rule('audit.generationPassed', 'sees generations that were never made, not those left behind', async () => {
    const columns = 'report_id, generation, source_id, folded_window, folded_seal, epoch';
    const insert = `INSERT INTO tm_fold (${columns}) VALUES`;
    const found = await planted([`${insert} (7, 0, 0, 0, 0, 0), (7, 2, 0, 0, 0, 0), (8, 1, 0, 0, 0, 0)`]);
    expect(found).toEqual(['GENERATION_UNKNOWN 0', 'GENERATION_UNKNOWN 0']);
  });

  rule('audit.epochPassed', 'sees another owner, epoch or server', async () => {
    expect(await planted(['UPDATE tm_sink SET epoch = epoch - 1'])).toEqual(['SINK_EPOCH 0']);
    expect(await planted([`UPDATE tm_sink SET server = 'another'`])).toEqual(['SINK_SERVER 0']);
    expect(await planted([`UPDATE tm_sink SET cluster_id = 'another'`])).toEqual(['SINK_OF_OTHER_CLUSTER 0']);
  });

  it('says nothing of what is folded, or has no records any more', async () => {
    const folded = { window: 2, seal: token(1) };
    const fold = [
      `UPDATE tm_fold SET folded_window = 2, folded_seal = ${token(1)}`,
      'DELETE FROM tm_ledger WHERE first_window <= 2',
      'DELETE FROM tm_contribution_7_1 WHERE first_window <= 2',
    ];
    expect(await planted(fold, TASKS, { folded })).toEqual([]);
    expect(await planted(fold, TASKS.slice(2), { folded, keptFrom: 3 })).toEqual([]);
  });
});

describe.skipIf(mariadbMissing())('an audit of a report database on MariaDB', () => {
  it('finds nothing, and then what was planted', async () => {
    const database = await freshDatabase('audit');
    const story = await Story.begin(openEngine({ kind: 'mysql', url: database.url }));
    expect(await story.codes()).toEqual([]);
    const statements = [
      'DELETE FROM tm_ledger WHERE first_window = 4',
      'UPDATE tm_contribution_7_1 SET token = token - 1 WHERE first_window = 1',
    ];
    const found = ['WATERMARK_WRONG 3', 'LEDGER_MISSING 4', 'CONTRIBUTION_ROWS 1'];
    expect(await story.codes(statements)).toEqual(expect.arrayContaining(found));
    const dropped = await story.codes(['DROP TABLE tm_multiset_7_1_3']);
    expect(dropped).toContain('TABLE_MISSING 0');
    await story.close();
    await database.drop();
  });
});

describe('an audit of row states', () => {
  let engine: SqlEngine;
  beforeAll(async () => {
    engine = openEngine({ kind: 'embedded', file: join(folder, 'store.db') });
    await engine.use('test', async (connection) => {
      await connection.query('CREATE TABLE tm_state_mark (_source BIGINT, _window BIGINT, _token BIGINT)');
      await connection.query(`INSERT INTO tm_state_mark VALUES (1, 5, ${token(15)})`);
    });
  });
  afterAll(() => engine.close());

  /** A store shard whose mark stands at window 5 under token 15. */
  async function marked(change: Partial<Parameters<typeof auditStates>[1]>): Promise<string[]> {
    const right = {
      sourceId: 1,
      shard: 'main',
      window: 5,
      lastWindow: 6,
      newestToken: token(20),
      oldestToken: token(15),
    };
    expect(await auditStates(engine, right)).toEqual([]);
    const found = await auditStates(engine, { ...right, ...change });
    return found.map(({ code, shard, firstWindow }) => `${code} ${shard} ${firstWindow}`);
  }

  rule('audit.stateBehindPassed', 'sees a mark that went back', async () => {
    expect(await marked({ window: 6 })).toEqual(['STATE_MARK_BEHIND main 5']);
  });

  rule('audit.stateAheadPassed', 'sees a mark beyond the last sealed window', async () => {
    expect(await marked({ window: 4, lastWindow: 4 })).toEqual(['STATE_MARK_AHEAD main 5']);
    // After a restore it may be of the cluster's former self.
    expect(await marked({ window: 4, lastWindow: 4, oldestToken: token(16) })).toEqual([]);
  });

  rule('audit.stateTokenPassed', 'sees a mark under a token that was never granted', async () => {
    expect(await marked({ newestToken: token(14) })).toEqual(['STATE_MARK_TOKEN main 5']);
  });

  it('takes a shard without a mark for one that holds nothing', async () => {
    expect(await marked({ sourceId: 2 })).toEqual(['STATE_MARK_BEHIND main 0']);
  });
});
