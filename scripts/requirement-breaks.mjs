// What must be seen when a requirement of consensus is broken: the breaks of test/raft/breaks.ts, and the
// files with the tests of each requirement.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSources } from './load-source.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const SCENARIOS = 'test/raft/scenarios.test.ts';

const isStale = ({ file, find }) => readFileSync(join(root, file), 'utf8').split(find).length !== 2;

/** Resolves with one row per break: its name, the environment that makes it, and whose tests must notice. */
export async function requirementBreaks() {
  const [{ BREAKS }, { testsByRequirement }] = await loadSources([
    'test/raft/breaks.ts',
    'test/tidy/requirement-tests.ts',
  ]);
  const tests = testsByRequirement();
  return BREAKS.map(({ requirement, broken }) => {
    const files = (tests.get(requirement) ?? []).map(({ path }) =>
      path.endsWith('.txt') ? SCENARIOS : path,
    );
    const byMutation = typeof broken === 'string';
    return {
      requirement: `R${requirement}`,
      name: byMutation ? broken : `${broken.file}: ${broken.find.split('\n')[0].trim()}`,
      environment: byMutation ? { TIDEMARK_MUTATIONS: broken } : { TIDEMARK_BREAK: JSON.stringify(broken) },
      files: [...new Set(files)],
      stale: !byMutation && isStale(broken),
    };
  });
}
