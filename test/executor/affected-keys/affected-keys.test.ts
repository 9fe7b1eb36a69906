import { describe, expect, it } from 'vitest';
import { setMutation } from '../../../src/base/test-build-active.ts';
import type { MutationName } from '../../../src/base/test-build-names.ts';
import { freshEngine, type EngineKind } from '../../support/engines.ts';
import { mariadbMissing } from '../../support/mariadb.ts';
import { openPlace, type Place } from './place.ts';
import { runCase } from './run-case.ts';

/** More of them: `TIDEMARK_KEYS_CASES=1000 npm test -- test/executor/affected-keys`. */
const CASES = Number(process.env['TIDEMARK_KEYS_CASES'] ?? 20);
const MARIADB_CASES = Number(process.env['TIDEMARK_KEYS_CASES'] ?? 6);
const SEED = Number(process.env['TIDEMARK_KEYS_SEED'] ?? 1);

/** A bounded search: a mutation that survives it is a rule without a test. */
const CASES_PER_MUTATION = 100;
const RULES: readonly MutationName[] = [
  'merge.olderWindowWrites',
  'merge.tombstoneForgotten',
  'merge.formerCellForgotten',
  'fold.removesFormerCells',
  'job.touchedByAfterImages',
  'job.vanishedKeysStay',
  'compute.oneShardGathered',
  'compute.replicasGathered',
];

async function on(kind: EngineKind, work: (place: Place) => Promise<void>): Promise<void> {
  const all = await freshEngine(kind, 'keys');
  const other = await freshEngine(kind, 'keys_other');
  try {
    await work(await openPlace(all.engine, other.engine));
  } finally {
    await all.close();
    await other.close();
  }
}

async function runCases(place: Place, count: number): Promise<void> {
  for (let seed = SEED; seed < SEED + count; seed += 1) await runCase(place, seed);
}

describe('reports of class affectedKeys', () => {
  it(
    `show what their SQL gives over the source, in ${CASES} random cases on the embedded engine`,
    () => on('embedded', (place) => runCases(place, CASES)),
    60_000 + 1_000 * CASES,
  );

  it.skipIf(mariadbMissing())(
    `show what their SQL gives over the source, in ${MARIADB_CASES} random cases on MariaDB`,
    () => on('mysql', (place) => runCases(place, MARIADB_CASES)),
    60_000 + 1_000 * MARIADB_CASES,
  );

  it.each(RULES)('are seen to be wrong without the rule %s', async (name) => {
    setMutation(name, true);
    try {
      const search = on('embedded', (place) => runCases(place, CASES_PER_MUTATION));
      await expect(search).rejects.toThrow(/the report differs/);
    } finally {
      setMutation(name, false);
    }
  });
});
