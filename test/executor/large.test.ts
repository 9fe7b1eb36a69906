/**
 * Contributions of a million rows and more, measured on MariaDB: only by `npm run test:large`.
 * TIDEMARK_LARGE_CASES names how many keys.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asToken } from '../../src/base/fencing-token.ts';
import { Gatherer } from '../../src/executor/compute/gatherer.ts';
import { foldAndSweep } from './fold-and-sweep.ts';
import { layoutOf } from '../../src/executor/sink/layout.ts';
import { mergeContribution, type Contribution } from '../../src/executor/sink/merge.ts';
import { prepareReport } from '../../src/executor/sink/report-view.ts';
import { retractContribution } from '../../src/executor/sink/retract.ts';
import { Staging, type StagingInput } from '../../src/executor/sink/staging.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase, type FreshDatabase } from '../support/mariadb.ts';
import { contributionOf, makeSink, registerSource, REPORT, TOKEN_BASE, type Sink } from './merge-fixture.ts';

const KEYS = Number(process.env['TIDEMARK_LARGE_CASES'] ?? 0);
const PIECE = 5_000;
const MS = 3_600_000;

describe.skipIf(KEYS === 0)(`a contribution of ${KEYS} rows`, () => {
  let fresh: FreshDatabase;
  let engine: SqlEngine;
  let sink: Sink;

  beforeAll(async () => {
    fresh = await freshDatabase('large');
    engine = openEngine({ kind: 'mysql', url: fresh.url });
    sink = await makeSink(engine);
  });
  afterAll(async () => {
    await engine.close();
    await fresh.drop();
  });

  const inputOf = (version: number): StagingInput => ({
    grant: sink.grant,
    layout: sink.layout,
    token: asToken(TOKEN_BASE + BigInt(version)),
    span: {
      ...{ reportId: 7, generation: 1, sourceId: 1, firstWindow: 1, lastWindow: 1, part: 0, parts: 1 },
      ...{ coversMs: 1, position: '1' },
    },
  });

  it(
    'is staged, merged, replaced, retracted and folded, while others merge',
    async () => {
      await registerSource(sink, { reportId: 7, generation: 1, sourceId: 1 }, 'sales');
      const other = await beside(engine, sink);
      const memory = watchMemory();
      await told('staged', other, async () => {
        staged = await stage(sink, inputOf(1));
      });
      await told('merged', other, () =>
        mergeContribution(sink.context, { ...inputOf(1), contribution: staged }),
      );
      expect(await count(engine, sink.layout.table)).toBe(BigInt(KEYS));
      const again = await stage(sink, inputOf(2));
      await told('replaced', other, () =>
        mergeContribution(sink.context, { ...inputOf(2), contribution: again }),
      );
      // Of both versions: what is replaced lies aside until it is folded.
      expect(await packed(engine, sink.layout.contributionTable)).toBe(2 * KEYS);
      await told('retracted', other, () => retractContribution(sink.context, { ...inputOf(3), reason: 'X' }));
      const last = await stage(sink, inputOf(4));
      await mergeContribution(sink.context, { ...inputOf(4), contribution: last });
      await told('folded', other, () =>
        foldAndSweep(sink.context, {
          grant: sink.grant,
          layout: sink.layout,
          scope: { reportId: 7, generation: 1, sourceId: 1 },
          spanEnds: [{ window: 1, seal: TOKEN_BASE }],
        }),
      );
      expect(await packed(engine, sink.layout.contributionTable)).toBe(0);
      await other.end();
      process.stdout.write(`executor's memory above the start: ${memory.end()} MiB\n`);
    },
    MS,
  );

  let staged: Contribution = { attempt: 0n, pieces: 0, rows: 0 };
});

async function count(engine: SqlEngine, table: string): Promise<unknown> {
  const { rows } = await engine.use('test', (connection) =>
    connection.query(`SELECT COUNT(*) FROM ${table}`),
  );
  return rows[0]?.[0];
}

/** Rows in the packs of a table. */
async function packed(engine: SqlEngine, table: string): Promise<number> {
  const { rows } = await engine.use('test', (connection) =>
    connection.query(`SELECT COALESCE(SUM(row_total), 0) FROM ${table}`),
  );
  return Number(rows[0]?.[0]);
}

/** Keys in no order, as a hash table would give them. */
async function stage({ context }: Sink, input: StagingInput): Promise<Contribution> {
  const gatherer = new Gatherer({
    ...{ heldMax: 20_000, rowsMax: 10_000_000, pieceRows: PIECE },
    stage: () => Staging.open(context, input),
  });
  const step = 7_368_787;
  for (let from = 0; from < KEYS; from += PIECE) {
    const size = Math.min(PIECE, KEYS - from);
    const rows = Array.from({ length: size }, (_, at) => {
      const key = ((from + at) * step) % KEYS;
      return [1n, Buffer.from(`customer ${key}`), 1n, 1n, BigInt(key), 1n, BigInt(key), 1n];
    });
    await gatherer.take(0, rows);
  }
  return gatherer.end(2);
}

interface Beside {
  /** The longest of its merges since it was asked last, milliseconds, and how many there were. */
  take(): { readonly longestMs: number; readonly merges: number };
  end(): Promise<void>;
}

/** Another report of the same database, which goes on merging. */
async function beside(engine: SqlEngine, { grant, context }: Sink): Promise<Beside> {
  const layout = layoutOf({ reportId: 8, generation: 1 }, { ...REPORT, name: 'others' });
  await prepareReport(engine, { ...grant, prepared: asToken(TOKEN_BASE), sourceId: 1 }, layout);
  let [longestMs, merges, window, ended] = [0, 0, 0, false];
  const one = async (): Promise<void> => {
    window += 1;
    const before = performance.now();
    const rows = [{ name: 'ada', amount: 3n, label: 'x', weight: 1n } as const];
    await mergeContribution(context, {
      ...{ grant, layout, token: asToken(TOKEN_BASE + BigInt(window)) },
      span: {
        ...{ reportId: 8, generation: 1, sourceId: 1, firstWindow: window, lastWindow: window },
        ...{ part: 0, parts: 1, coversMs: window, position: String(window) },
      },
      contribution: contributionOf(1, rows),
    });
    merges += 1;
    longestMs = Math.max(longestMs, performance.now() - before);
  };
  const running = (async () => {
    while (!ended) {
      await one();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  return {
    take: () => {
      const found = { longestMs: Math.round(longestMs), merges };
      [longestMs, merges] = [0, 0];
      return found;
    },
    end: async () => {
      ended = true;
      await running;
    },
  };
}

async function told(what: string, other: Beside, work: () => Promise<unknown>): Promise<void> {
  other.take();
  const before = performance.now();
  await work();
  const seconds = ((performance.now() - before) / 1_000).toFixed(1);
  const { longestMs, merges } = other.take();
  process.stdout.write(
    `${what} in ${seconds} s; meanwhile another report merged ${merges} times, at most ${longestMs} ms\n`,
  );
}

function watchMemory(): { end(): number } {
  const { heapUsed, external } = process.memoryUsage();
  const start = heapUsed + external;
  let most = 0;
  const timer = setInterval(() => {
    const now = process.memoryUsage();
    most = Math.max(most, now.heapUsed + now.external - start);
  }, 50);
  return {
    end: () => {
      clearInterval(timer);
      return Math.round(most / 1024 / 1024);
    },
  };
}
