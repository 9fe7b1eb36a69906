/**
 * Where a setting comes from: flag, else environment variable, else config file, else default. An error names
 * the place of the bad value, because that is what has to be changed.
 */
import { TidemarkError, isTidemarkError } from '../base/index.ts';
import type { ConfigFile } from './config-file.ts';
import { environmentName, kebab, type Option, type Options } from './option.ts';

export interface SettingSources {
  /** Values of flags that were given, by option name. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly file: ConfigFile | undefined;
}

/**
 * Resolves every option of a command.
 * @throws TidemarkError `CONFIG_INVALID` for a bad value, `USAGE` for a required option that is nowhere.
 */
export function resolveSettings(
  command: { readonly path: readonly string[]; readonly options: Options },
  sources: SettingSources,
): Readonly<Record<string, unknown>> {
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(command.options)) {
    const found = find(name, command.path, sources) ?? fallback(option);
    if (found !== undefined) values[name] = parse(option, found);
    else if (option.required === true) throw missing(name, option);
  }
  return values;
}

interface Found {
  readonly text: string;
  readonly origin: string;
}

function find(name: string, path: readonly string[], sources: SettingSources): Found | undefined {
  const flagText = sources.flags[name];
  if (flagText !== undefined) return { text: flagText, origin: `--${kebab(name)}` };
  const variable = environmentName(name);
  const environmentText = sources.environment[variable];
  if (environmentText !== undefined && environmentText !== '') {
    return { text: environmentText, origin: variable };
  }
  return sources.file?.find(path, kebab(name));
}

function fallback(option: Option<unknown>): Found | undefined {
  return option.fallback === undefined ? undefined : { text: option.fallback, origin: 'default' };
}

function parse(option: Option<unknown>, { text, origin }: Found): unknown {
  try {
    return option.parse(text);
  } catch (error) {
    if (!isTidemarkError(error, 'CONFIG_INVALID')) throw error;
    throw new TidemarkError('CONFIG_INVALID', `${origin}: ${JSON.stringify(text)}: ${error.message}`, {
      next: error.next ?? `Correct ${origin}.`,
      cause: error,
    });
  }
}

function missing(name: string, option: Option<unknown>): TidemarkError {
  const shown = option.positional !== undefined ? `<${name}>` : `--${kebab(name)}`;
  return new TidemarkError('USAGE', `${shown} is missing: ${option.help}`, {
    next: `Give ${shown}, or set ${environmentName(name)}.`,
  });
}
