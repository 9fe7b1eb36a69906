/** Flag over environment over config file over default, and errors that name the place of the bad value. */
import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../src/base/index.ts';
import { command, type Command } from '../../src/cli/command.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { parseConfig } from '../../src/cli/config-file.ts';
import { environmentName, integer, kebab, list, requiredText } from '../../src/cli/option.ts';
import { resolveSettings } from '../../src/cli/settings.ts';

const start: Command = command({
  path: ['executor', 'start'],
  summary: '',
  options: {
    name: requiredText('Its name'),
    slots: integer('Slots', { min: 1, max: 64, fallback: 4 }),
    endpoints: list('Addresses', { fallback: 'a:1,b:2' }),
  },
  load: () => Promise.reject(new Error('not run')),
});

interface Given {
  readonly flags?: Record<string, string>;
  readonly environment?: Record<string, string>;
  readonly file?: string;
}

function resolve({ flags = {}, environment = {}, file }: Given): Readonly<Record<string, unknown>> {
  const config = file === undefined ? undefined : parseConfig(file, 'tidemark.yaml', [start]);
  return resolveSettings(start, { flags, environment, file: config });
}

function failure(run: () => unknown): TidemarkError {
  try {
    run();
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('settings', () => {
  const file = 'slots: 7\nexecutor: { start: { slots: 6, endpoints: [x:1, y:2] } }\n';

  it.each([
    ['the default', {}, 4],
    ['the file over the default', { file: 'slots: 7' }, 7],
    ['the command in the file over the rest of it', { file }, 6],
    ['the environment over the file', { file, environment: { TIDEMARK_SLOTS: '5' } }, 5],
    ['the flag over all', { file, environment: { TIDEMARK_SLOTS: '5' }, flags: { slots: '9' } }, 9],
    ['an empty variable counts as none', { file, environment: { TIDEMARK_SLOTS: '' } }, 6],
  ] satisfies readonly (readonly [string, Given, number])[])('%s', (_what, given: Given, slots) => {
    expect(resolve({ ...given, flags: { name: 'e1', ...given.flags } })['slots']).toBe(slots);
  });

  it('reads lists from every place', () => {
    expect(resolve({ flags: { name: 'e' } })['endpoints']).toEqual(['a:1', 'b:2']);
    expect(resolve({ file, flags: { name: 'e' } })['endpoints']).toEqual(['x:1', 'y:2']);
    expect(resolve({ flags: { name: 'e', endpoints: 'p:1, q:2,' } })['endpoints']).toEqual(['p:1', 'q:2']);
  });

  it.each([
    ['--slots', { flags: { name: 'e', slots: '65' } }],
    ['TIDEMARK_SLOTS', { flags: { name: 'e' }, environment: { TIDEMARK_SLOTS: 'many' } }],
    [
      'tidemark.yaml: executor.start.slots',
      { flags: { name: 'e' }, file: 'executor: { start: { slots: 0 } }' },
    ],
  ] satisfies readonly (readonly [string, Given])[])(
    'names %s as the place of a bad value',
    (place, given) => {
      const error = failure(() => resolve(given));
      expect(error.code).toBe('CONFIG_INVALID');
      expect(error.message).toContain(place);
      expect(error.message).toContain('a whole number from 1 to 64');
    },
  );

  it('asks for what is required, and says how to give it', () => {
    const error = failure(() => resolve({}));
    expect(error.code).toBe('USAGE');
    expect(error.message).toContain('--name is missing');
    expect(error.next).toContain('TIDEMARK_NAME');
  });
});

describe('the config file', () => {
  it.each([
    ['slot: 3', 'unknown key slot; did you mean slots?'],
    ['executor: { stat: { slots: 3 } }', 'unknown key executor.stat; did you mean start?'],
    ['executor: { start: { slots: { min: 1 } } }', 'executor.start.slots must be a value or a list'],
    ['- slots', 'it must be a map of flags'],
    ['slots: [', 'Flow sequence'],
  ])('refuses %j', (text, reason) => {
    const error = failure(() => parseConfig(text, 'tidemark.yaml', [start]));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(reason);
  });

  it('may be empty', () => {
    expect(parseConfig('', 'tidemark.yaml', [start]).find(['executor', 'start'], 'slots')).toBeUndefined();
  });
});

describe('every command', () => {
  const options = COMMANDS.flatMap((item) =>
    Object.entries(item.options).map(([name, option]) => ({ path: item.path.join(' '), name, option })),
  );

  it.each(options)('$path: the default of $name is a value that it takes', ({ option }) => {
    if (option.fallback !== undefined) expect(() => option.parse(option.fallback ?? '')).not.toThrow();
    expect(option.help).not.toBe('');
  });

  it('can say its result as JSON', () => {
    for (const item of COMMANDS) expect(Object.keys(item.options)).toContain('output');
  });

  it('has names that make a flag and a variable', () => {
    expect(kebab('peerListen')).toBe('peer-listen');
    expect(environmentName('peerListen')).toBe('TIDEMARK_PEER_LISTEN');
  });
});
