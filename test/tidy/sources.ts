import { readFileSync, readdirSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Source {
  /** From the repository's root, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

const FOLDERS = ['src', 'test', 'scripts', 'bench', 'jepsen-style-tests', 'docs', 'proto'];
const ROOT_FILES = ['README.md', 'CONTRIBUTING.md', 'eslint.config.js', 'vitest.config.ts', 'package.json'];
const GENERATED =
  /^src\/wire\/tidemark\/|^docs\/reference\/(cli|errors|limits|metrics|raft-requirements|rules)\.md$/;

/** Reads every file of the project that people write, optionally only those with one of the extensions. */
export function projectSources(...extensions: readonly string[]): readonly Source[] {
  const paths = [...ROOT_FILES];
  for (const folder of FOLDERS) {
    for (const entry of entriesOf(folder)) {
      if (entry.isFile()) paths.push(relative(root, join(entry.parentPath, entry.name)));
    }
  }
  return paths
    .filter((path) => !GENERATED.test(path))
    .filter((path) => extensions.length === 0 || extensions.includes(extname(path)))
    .sort()
    .map(read);
}

function entriesOf(folder: string): ReturnType<typeof listing> {
  try {
    return listing(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function listing(folder: string) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
}

function read(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8');
  return { path, text, lines: text.split('\n') };
}
