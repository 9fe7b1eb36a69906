import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setMutation } from '../../src/base/test-build-active.ts';
import type { MutationName } from '../../src/base/test-build-names.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { runCase } from './merge-cases.ts';
import { makeSink, type Sink } from './merge-fixture.ts';

/** More of them by `npm run test:merge -- --cases N --seed S`. */
const CASES = Number(process.env['TIDEMARK_MERGE_CASES'] ?? 150);
const SEED = Number(process.env['TIDEMARK_MERGE_SEED'] ?? 1);
const TIMEOUT_MS = 120_000 + 200 * CASES;
/**
 * One for every clause of design 6.8 and its neighbours that the product could leave out, with the first seed
 * that shows it: the search begins there. After a change of the cases it takes longer, and is not wrong.
 */
const RULES = {
  'merge.ignoreSinkEpoch': 9,
  'merge.sinkEpochAtLeast': 9,
  'merge.ignoreFoldMark': 3,
  'merge.ignoreFloor': 3,
  'merge.reapplySameToken': 1,
  'merge.keepOldContribution': 2,
  'merge.ledgerNotWritten': 2,
  'merge.ledgerOutsideTransaction': 1,
  'merge.checkedApart': 2,
  'merge.ledgerWithoutSource': 1,
  'merge.deleteEmptyRows': 5,
  'merge.perWindowExtremes': 11,
  'merge.dropNegativeMembers': 5,
  'merge.nonNullCountIgnored': 8,
  'merge.skipKeepsContribution': 7,
  'merge.floorNotRaised': 3,
  'merge.watermarkSkipsHoles': 1,
  'merge.watermarkFromRaft': 1,
  'fold.pastUnsettled': 6,
  'fold.removesEmptyRows': 98,
  'fold.removesNegatives': 8,
} as const satisfies Partial<Record<MutationName, number>>;

/** A bounded search: a mutation that survives this many cases is a rule without a test. */
const CASES_PER_MUTATION = 400;

let folder = '';
let files = 0;

function embedded(): SqlEngine {
  files += 1;
  return openEngine({ kind: 'embedded', file: join(folder, `reports-${files}.db`) });
}

/** Cases are sources of their own, so several may run at once; a pool of connections is what they share. */
async function runCases(sink: Sink, lanes: number): Promise<void> {
  const lane = async (first: number): Promise<void> => {
    for (let seed = SEED + first; seed < SEED + CASES; seed += lanes) await runCase(sink, seed);
  };
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-merge-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('the merge on the embedded engine', () => {
  it(
    `equals the naive model in ${CASES} random cases`,
    async () => {
      const engine = embedded();
      try {
        await runCases(await makeSink(engine), 1);
      } finally {
        await engine.close();
      }
    },
    TIMEOUT_MS,
  );

  it.each(Object.entries(RULES))('notices when the rule %s is broken', async (rule, from) => {
    const engine = embedded();
    const name = rule as MutationName;
    setMutation(name, true);
    try {
      const sink = await makeSink(engine);
      const search = async (): Promise<void> => {
        for (let seed = from; seed < from + CASES_PER_MUTATION; seed += 1) await runCase(sink, seed);
      };
      await expect(search()).rejects.toThrow();
    } finally {
      setMutation(name, false);
      await engine.close();
    }
  });
});

describe.skipIf(mariadbMissing())('the merge on MariaDB', () => {
  let database: FreshDatabase;
  let engine: SqlEngine;

  beforeAll(async () => {
    database = await freshDatabase('merge');
    engine = openEngine({ kind: 'mysql', url: database.url });
  });

  afterAll(async () => {
    await engine.close();
    await database.drop();
  });

  it(
    `equals the naive model in ${CASES} random cases, several at once`,
    async () => {
      await runCases(await makeSink(engine), 8);
    },
    TIMEOUT_MS,
  );
});
