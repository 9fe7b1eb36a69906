/** The queries of docs/how-to/is-a-report-complete.md, as they stand there, on both engines. */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { asToken } from '../../src/base/index.ts';
import { foldAndSweep } from '../executor/fold-and-sweep.ts';
import { mergeContribution } from '../../src/executor/sink/merge.ts';
import { retractContribution } from '../../src/executor/sink/retract.ts';
import type { SqlEngine } from '../../src/sql/index.ts';
import { contributionOf, makeSink, registerSource, TOKEN_BASE } from '../executor/merge-fixture.ts';
import { freshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';

const SCOPE = { reportId: 7, generation: 1, sourceId: 1 };

async function queries(): Promise<string[]> {
  const text = await readFile('docs/how-to/is-a-report-complete.md', 'utf8');
  return [...text.matchAll(/```sql\n([\s\S]*?)```/g)].map((match) =>
    (match[1] ?? '').trim().replace(/;$/, ''),
  );
}

async function check(engine: SqlEngine): Promise<void> {
  const sink = await makeSink(engine);
  await registerSource(sink, SCOPE, 'sales');
  // The fixture's own source is no part of this.
  await engine.use('test', (connection) => connection.query('DELETE FROM tm_watermark WHERE source_id = 0'));
  const [complete = '', holes = ''] = await queries();
  const ask = async (sql: string) => (await engine.use('test', (connection) => connection.query(sql))).rows;
  const settle = async (first: number, last: number, reason = ''): Promise<void> => {
    const token = asToken(TOKEN_BASE + 100n + BigInt(first));
    const span = { ...SCOPE, firstWindow: first, lastWindow: last, part: 0, parts: 1 };
    const position = { coversMs: last * 10_000, position: `at ${last}` };
    const input = { grant: sink.grant, layout: sink.layout, span: { ...span, ...position }, token };
    if (reason === '')
      await mergeContribution(sink.context, { ...input, contribution: contributionOf(0, []) });
    else await retractContribution(sink.context, { ...input, reason });
  };
  const standing = async () => {
    const [row = []] = await ask(complete);
    return [Number(row[1]), Number(row[2]), Number(row[3]), Number(row[4])];
  };
  expect(await standing()).toEqual([0, 0, 0, 0]);
  await settle(1, 1);
  await settle(3, 3);
  // Window 2 is missing: what lies behind it does not count.
  expect(await standing()).toEqual([1, 10_000, 0, 0]);
  await settle(2, 2);
  expect(await standing()).toEqual([3, 30_000, 0, 1]);
  await settle(4, 6, 'KEY_NULL');
  expect(await standing()).toEqual([6, 60_000, 1, 0]);
  const listed = [[4n, 6n, 0n, 60_000n, 'KEY_NULL']];
  expect(await ask(holes)).toEqual(listed);
  // A hole that is folded away stays one.
  const spanEnds = [1, 2, 3, 6].map((window) => ({ window, seal: TOKEN_BASE }));
  await foldAndSweep(sink.context, { grant: sink.grant, layout: sink.layout, scope: SCOPE, spanEnds });
  expect(await standing()).toEqual([6, 60_000, 1, 0]);
  expect(await ask(holes)).toEqual(listed);
}

describe.each(['embedded', 'mysql'] as const)(
  'the queries that tell whether a report is complete: %s',
  (kind) => {
    it.skipIf(kind === 'mysql' && mariadbMissing())('say so', async () => {
      const { engine, close } = await freshEngine(kind, 'complete');
      try {
        await check(engine);
      } finally {
        await close();
      }
    });
  },
);
