/**
 * One schema per command: each option is declared once and gives the flag, the environment variable, the
 * key in the config file, the default, the check and the help text. `dataFolder` is `--data-folder`,
 * `TIDEMARK_DATA_FOLDER` and `data-folder:`.
 */
import { TidemarkError, formatAddress, parseAddress } from '../base/index.ts';

export interface Option<T> {
  readonly help: string;
  /** What stands for the value in the help text; absent for a switch. */
  readonly placeholder?: string;
  /** The default as its text; absent when the option may stay unset. */
  readonly fallback?: string;
  readonly required?: boolean;
  /** One letter. */
  readonly short?: string;
  /** Taken from the words after the command instead of a flag. */
  readonly positional?: 'one' | 'many';
  /**
   * Makes the value of a text.
   * @throws TidemarkError `CONFIG_INVALID` saying what is expected; the caller adds where the text came from.
   */
  parse(text: string): T;
}

export type Options = Readonly<Record<string, Option<unknown>>>;
export type Values<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

interface Settings {
  readonly fallback?: string;
  readonly short?: string;
  readonly placeholder?: string;
}

function invalid(expected: string): TidemarkError {
  return new TidemarkError('CONFIG_INVALID', `expected ${expected}`);
}

export function text(help: string, settings: Settings & { readonly fallback: string }): Option<string>;
export function text(help: string, settings?: Settings): Option<string | undefined>;
export function text(help: string, settings: Settings = {}): Option<string | undefined> {
  return { placeholder: 'TEXT', ...settings, help, parse: nonEmpty };
}

export function requiredText(
  help: string,
  settings: Settings & { readonly positional?: 'one' } = {},
): Option<string> {
  return { placeholder: 'TEXT', ...settings, help, required: true, parse: nonEmpty };
}

function nonEmpty(value: string): string {
  if (value === '') throw invalid('a text that is not empty');
  return value;
}

export function choice<const C extends string>(
  help: string,
  { choices, fallback }: { readonly choices: readonly C[]; readonly fallback: C },
): Option<C> {
  return {
    help,
    placeholder: choices.join('|'),
    fallback,
    parse(value) {
      const found = choices.find((item) => item === value);
      if (found === undefined) throw invalid(`one of ${choices.join(', ')}`);
      return found;
    },
  };
}

export function flag(help: string): Option<boolean> {
  return {
    help,
    fallback: 'false',
    parse(value) {
      if (value === 'true' || value === '1') return true;
      if (value === 'false' || value === '0') return false;
      throw invalid('true or false');
    },
  };
}

export function integer(
  help: string,
  range: { readonly min: number; readonly max: number; readonly fallback: number },
): Option<number> {
  return {
    help,
    placeholder: 'NUMBER',
    fallback: String(range.fallback),
    parse: (value) => parseInteger(value, range),
  };
}

export function requiredInteger(
  help: string,
  range: { readonly min: number; readonly max: number; readonly positional?: 'one' },
): Option<number> {
  const { min, max, ...rest } = range;
  const parse = (value: string): number => parseInteger(value, { min, max });
  return { help, placeholder: 'NUMBER', required: true, ...rest, parse };
}

function parseInteger(value: string, range: { readonly min: number; readonly max: number }): number {
  const number = Number(value);
  if (/^\d{1,15}$/.test(value) && number >= range.min && number <= range.max) return number;
  throw invalid(`a whole number from ${range.min} to ${range.max}`);
}

/** `host:port`, `[v6]:port`. */
export function address(help: string, fallback: string): Option<string>;
export function address(help: string): Option<string | undefined>;
export function address(help: string, fallback?: string): Option<string | undefined> {
  return {
    help,
    placeholder: 'HOST:PORT',
    ...(fallback === undefined ? {} : { fallback }),
    parse: parseAddressText,
  };
}

function parseAddressText(value: string): string {
  return formatAddress(parseAddress(value, 'an address'));
}

export function requiredAddress(help: string): Option<string> {
  return { ...address(help), required: true, parse: parseAddressText };
}

/** A comma-separated list; the flag may also be repeated. */
export function list(
  help: string,
  settings: Settings & { readonly positional?: 'many' } = {},
): Option<readonly string[]> {
  return {
    placeholder: 'A,B,...',
    fallback: '',
    ...settings,
    help,
    parse: (value) =>
      value
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== ''),
  };
}

export interface MemberAddresses {
  readonly peerAddress: string;
  readonly clientAddress: string;
}

/** `peer/client,peer/client`: both addresses of each member. */
export function memberList(help: string): Option<readonly MemberAddresses[]> {
  return {
    help,
    placeholder: 'PEER/CLIENT,...',
    fallback: '',
    parse: (value) =>
      value.split(',').flatMap((item) => {
        if (item.trim() === '') return [];
        const [peer = '', client = '', ...rest] = item.trim().split('/');
        if (rest.length > 0) throw invalid('members as HOST:PORT/HOST:PORT: for peers and for clients');
        return [{ peerAddress: parseAddressText(peer), clientAddress: parseAddressText(client) }];
      }),
  };
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `250ms`, `30s`, `5m`, `1h`; the value is milliseconds. */
export function duration(help: string): Option<number | undefined> {
  return {
    help,
    placeholder: 'DURATION',
    parse(value) {
      const match = /^(\d{1,9})(ms|s|m|h)$/.exec(value);
      const unit = UNIT_MS[match?.[2] ?? ''];
      if (unit === undefined || Number(match?.[1]) === 0) throw invalid('a duration such as 30s, 5m or 1h');
      return Number(match?.[1]) * unit;
    },
  };
}

export const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const environmentName = (name: string): string =>
  `TIDEMARK_${kebab(name).replaceAll('-', '_').toUpperCase()}`;
