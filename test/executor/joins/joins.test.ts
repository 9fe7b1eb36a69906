import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { setMutation } from '../../../src/base/test-build-active.ts';
import type { MutationName } from '../../../src/base/test-build-names.ts';
import { openEngine, type SqlEngine } from '../../../src/sql/index.ts';
import { freshDatabase, mariadbMissing } from '../../support/mariadb.ts';
import { checkCases } from './check-cases.ts';
import type { Engine } from './join-case.ts';

/** More of them by `npm run test:joins -- --cases N --seed S`. */
const CASES = Number(process.env['TIDEMARK_JOIN_CASES'] ?? 100);
const SEED = Number(process.env['TIDEMARK_JOIN_SEED'] ?? 1);
const EMBEDDED_CASES = 20;

/** A bounded search: a mutation that survives it is a rule without a test. */
const CASES_PER_MUTATION = 60;
const RULES: readonly (readonly [MutationName, Engine])[] = [
  ['job.joinsCurrentState', 'embedded'],
  ['job.statesSwapped', 'embedded'],
  ['states.firstImageCounts', 'embedded'],
  ['states.markIgnored', 'embedded'],
  ['compute.copiesOfAnySpan', 'mysql'],
];

async function withEngine(
  kind: Engine,
  work: (open: () => Promise<SqlEngine>) => Promise<void>,
): Promise<void> {
  const ends: (() => Promise<void>)[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-joins-'));
  ends.push(() => rm(folder, { recursive: true, force: true }));
  try {
    await work(async () => {
      if (kind === 'embedded') {
        const engine = openEngine({ kind, file: join(folder, `${ends.length}.db`) });
        ends.push(() => engine.close());
        return engine;
      }
      const database = await freshDatabase('joins');
      const engine = openEngine({ kind, url: database.url });
      ends.push(() => engine.close().then(database.drop));
      return engine;
    });
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

describe('reports over several changing inputs', () => {
  it.skipIf(mariadbMissing())(
    `equal recomputation from scratch in ${CASES} random cases on MariaDB`,
    () =>
      withEngine('mysql', (open) =>
        checkCases({ engine: 'mysql', open, cases: CASES, seed: SEED, shrinks: true }),
      ),
    600_000 + 1_000 * CASES,
  );

  it(`equal recomputation from scratch in ${EMBEDDED_CASES} random cases on the embedded engine`, () =>
    withEngine('embedded', (open) =>
      checkCases({ engine: 'embedded', open, cases: EMBEDDED_CASES, seed: SEED, shrinks: true }),
    ));

  describe.each(RULES)('without the rule %s', (name, engine) => {
    it.skipIf(engine === 'mysql' && mariadbMissing())('are seen to be wrong', async () => {
      setMutation(name, true);
      try {
        const search = withEngine(engine, (open) =>
          checkCases({ engine, open, cases: CASES_PER_MUTATION, seed: SEED, shrinks: false }),
        );
        await expect(search).rejects.toThrow(/differs/);
      } finally {
        setMutation(name, false);
      }
    });
  });
});
