// Finds, for each mutation, the sources that ask for it and the tests that name it.
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSources } from './load-source.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const NAMES = 'src/base/test-build-names.ts';

/** Every TypeScript source below a folder. */
export function sources(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => path !== NAMES)
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** The test files that import a file, directly or through others. */
function importersOf(path, tests, seen = new Set()) {
  if (seen.has(path)) return [];
  seen.add(path);
  if (path.endsWith('.test.ts')) return [path];
  const name = path.split('/').at(-1);
  return tests
    .filter((other) => other.text.includes(`/${name}'`))
    .flatMap((other) => importersOf(other.path, tests, seen));
}

/** Resolves with one row per mutation: its name, where it is switched, and the test files that name it. */
export async function ruleMap() {
  const [{ MUTATIONS }] = await loadSources([NAMES]);
  const [product, tests] = [sources('src'), sources('test')];
  const naming = (files, pattern) => files.filter(({ text }) => pattern.test(text)).map(({ path }) => path);
  return MUTATIONS.map((name) => {
    const quoted = `['"]${name.replaceAll('.', '\\.')}['"]`;
    const named = naming(tests, new RegExp(quoted));
    return {
      name,
      switchedIn: naming(product, new RegExp(`mutated\\(\\s*${quoted}`)),
      named,
      // A name may stand in a file that tests share, such as a contract or a list of cases.
      tests: [...new Set(named.flatMap((path) => importersOf(path, tests)))].sort(),
    };
  });
}
