/**
 * The config file, `tidemark.yaml` in the working folder or `--config`. Keys are flags; a key at the top
 * holds for every command that has the flag, a key under the words of a command (`coordinator: start:`) for
 * it alone.
 */
import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { TidemarkError } from '../base/index.ts';
import type { Command } from './command.ts';
import { nearest } from './nearest.ts';
import { kebab } from './option.ts';

export const CONFIG_FILE = 'tidemark.yaml';
const CONFIG_BYTES_MAX = 64 * 1024;

export interface ConfigFile {
  /** The value of a flag for a command, and where in the file it stands; the most specific wins. */
  find(path: readonly string[], flag: string): { readonly text: string; readonly origin: string } | undefined;
}

/**
 * Reads the file. Without a name, a missing `tidemark.yaml` is no error and gives undefined.
 * @throws TidemarkError `FILE_UNREADABLE`, `CONFIG_INVALID`.
 */
export async function readConfigFile(
  name: string | undefined,
  commands: readonly Command[],
): Promise<ConfigFile | undefined> {
  const file = name ?? CONFIG_FILE;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (name === undefined && (cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new TidemarkError('FILE_UNREADABLE', `cannot read the config file ${file}`, {
      next: 'Correct --config or TIDEMARK_CONFIG, or make the file readable.',
      cause,
    });
  }
  return parseConfig(text, file, commands);
}

/** @throws TidemarkError `CONFIG_INVALID`. */
export function parseConfig(text: string, file: string, commands: readonly Command[]): ConfigFile {
  if (text.length > CONFIG_BYTES_MAX) throw invalid(file, `it has more than ${CONFIG_BYTES_MAX} characters`);
  const document = parseDocument(text, { schema: 'core' });
  const [error] = document.errors;
  if (error !== undefined) throw invalid(file, error.message);
  const root: unknown = document.toJS() ?? {};
  if (!isMap(root)) throw invalid(file, 'it must be a map of flags');
  checkKeys(root, [], { file, commands });
  return {
    find(path, flag) {
      for (let depth = path.length; depth >= 0; depth -= 1) {
        const scope = path.slice(0, depth);
        const map = scope.reduce<unknown>((at, word) => (isMap(at) ? at[word] : undefined), root);
        const value = isMap(map) ? map[flag] : undefined;
        if (value !== undefined && !isMap(value)) {
          return { text: asText(value), origin: `${file}: ${[...scope, flag].join('.')}` };
        }
      }
      return undefined;
    },
  };
}

function checkKeys(
  map: Readonly<Record<string, unknown>>,
  scope: readonly string[],
  { file, commands }: { readonly file: string; readonly commands: readonly Command[] },
): void {
  const within = commands.filter((command) => scope.every((word, index) => command.path[index] === word));
  const words = within.map((command) => command.path[scope.length]).filter((word) => word !== undefined);
  const flags = within.flatMap((command) => Object.keys(command.options).map(kebab));
  for (const [key, value] of Object.entries(map)) {
    const where = [...scope, key].join('.');
    if (words.includes(key) && isMap(value)) {
      checkKeys(value, [...scope, key], { file, commands });
    } else if (!flags.includes(key)) {
      const meant = nearest(key, [...words, ...flags]);
      throw invalid(file, `unknown key ${where}${meant === undefined ? '' : `; did you mean ${meant}?`}`);
    } else if (isMap(value) || value === null) {
      throw invalid(file, `${where} must be a value or a list`);
    }
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asText(value: unknown): string {
  return Array.isArray(value) ? value.map(String).join(',') : String(value);
}

function invalid(file: string, reason: string): TidemarkError {
  return new TidemarkError('CONFIG_INVALID', `config file ${file}: ${reason}`, {
    next: `Correct ${file}; docs/reference/cli.md lists the keys.`,
  });
}
