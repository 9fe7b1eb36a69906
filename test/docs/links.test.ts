import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { projectSources } from '../tidy/sources.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('links only to files that exist', () => {
  const broken = projectSources('.md').flatMap(({ path, lines }) =>
    lines.flatMap((line, index) =>
      [...line.matchAll(/\]\(([^)#:]+)(#[^)]*)?\)/g)]
        .map((match) => match[1] ?? '')
        .filter((target) => !existsSync(join(root, dirname(path), target)))
        .map((target) => `${path}:${index + 1}: ${target}`),
    ),
  );
  expect(broken).toEqual([]);
});

/** A path that the text names in backquotes, such as a test file, is really there. */
it('names only files of the repository that exist', () => {
  const broken = projectSources('.md').flatMap(({ path, lines }) =>
    lines.flatMap((line, index) =>
      [...line.matchAll(/`((?:src|test|scripts|docs|proto)\/[\w./-]+\.\w+)`/g)]
        .map((match) => match[1] ?? '')
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${path}:${index + 1}: ${target}`),
    ),
  );
  expect(broken).toEqual([]);
});
