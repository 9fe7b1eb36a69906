/** Turns the table of commands into a yargs program, and its parse into a command with its flags. */
import yargs, { type Argv } from 'yargs';
import { TidemarkError } from '../base/index.ts';
import type { Command } from './command.ts';
import { nearest } from './nearest.ts';
import { environmentName, kebab, type Options } from './option.ts';

export interface Parsed {
  readonly command: Command;
  /** Texts of the flags that were given, by option name. */
  readonly flags: Readonly<Record<string, string | undefined>>;
}

type RawArguments = Readonly<Record<string, unknown>>;

/**
 * Parses a command line. Resolves to undefined when `--help` or `--version` was answered.
 * @throws TidemarkError `USAGE`.
 */
export async function parseCommandLine(
  words: readonly string[],
  { commands, version }: { readonly commands: readonly Command[]; readonly version: string },
): Promise<Parsed | undefined> {
  let parsed: Parsed | undefined;
  const select = (command: Command, raw: RawArguments): void => {
    parsed = { command, flags: flagTexts(command.options, raw) };
  };
  const program = yargs()
    .scriptName('tidemark')
    .usage('$0 <noun> <verb> [options]\n\nReport tables that are right and seconds fresh.')
    .parserConfiguration({
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'boolean-negation': false,
    })
    .locale('en')
    .version(version)
    .alias('help', 'h')
    .alias('version', 'V')
    .strict()
    .recommendCommands()
    .demandCommand(1, 'a command is missing')
    .showHelpOnFail(false)
    .exitProcess(false)
    .wrap(Math.min(110, process.stdout.isTTY ? process.stdout.columns : 110))
    .fail((message: string, error: Error | undefined) => {
      throw error ?? usage(message, words, commands);
    })
    .epilogue('Every option is also an environment variable (TIDEMARK_...) and a key of tidemark.yaml.');
  addCommands(program, { commands, depth: 0, select });
  await program.parseAsync([...words]);
  return parsed;
}

interface Adding {
  readonly commands: readonly Command[];
  readonly depth: number;
  readonly select: (command: Command, raw: RawArguments) => void;
}

function addCommands(program: Argv, { commands, depth, select }: Adding): void {
  for (const word of new Set(commands.map((command) => command.path[depth] ?? ''))) {
    const group = commands.filter((command) => command.path[depth] === word);
    const only = group.find((command) => command.path.length === depth + 1);
    if (only !== undefined) {
      program.command(
        [word, ...positionals(only.options)].join(' '),
        only.summary,
        (inner) => addOptions(inner, only),
        (raw) => {
          select(only, raw);
        },
      );
      continue;
    }
    const verbs = group.map((command) => command.path[depth + 1]).join(', ');
    program.command(word, `${word}: ${verbs}`, (inner) => {
      addCommands(inner, { commands: group, depth: depth + 1, select });
      return inner.demandCommand(1, `a verb is missing after ${word}: ${verbs}`);
    });
  }
}

function positionals(options: Options): string[] {
  return Object.entries(options)
    .filter(([, option]) => option.positional !== undefined)
    .map(([name, option]) => (option.positional === 'many' ? `[${name}..]` : `[${name}]`));
}

function addOptions(program: Argv, command: Command): Argv {
  for (const [name, option] of Object.entries(command.options)) {
    if (option.positional !== undefined) {
      const array = option.positional === 'many';
      program.positional(name, { type: 'string', array, describe: option.help });
      continue;
    }
    const isSwitch = option.placeholder === undefined;
    const shownDefault =
      isSwitch || option.fallback === undefined ? '' : ` [default: ${option.fallback || 'none'}]`;
    const shownType = isSwitch ? '' : ` (${option.placeholder})`;
    program.option(kebab(name), {
      type: isSwitch ? 'boolean' : 'string',
      describe: `${option.help}${shownType}${shownDefault} [${environmentName(name)}]`,
      ...(isSwitch ? {} : { requiresArg: true }),
      ...(option.short === undefined ? {} : { alias: option.short }),
    });
  }
  for (const example of command.examples) program.example(example, '');
  return program;
}

/** A flag that was repeated counts as a list; options that are no list refuse the comma themselves. */
function flagTexts(options: Options, raw: RawArguments): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.keys(options).map((name) => {
      const value = raw[name] ?? raw[kebab(name)];
      if (value === undefined || (Array.isArray(value) && value.length === 0)) return [name, undefined];
      const texts = (Array.isArray(value) ? value : [value]) as (string | boolean)[];
      return [name, texts.map(String).join(',')];
    }),
  );
}

function usage(message: string, words: readonly string[], commands: readonly Command[]): TidemarkError {
  const mistyped = words.find((word) => word.startsWith('--'))?.replace(/^--|=.*$/g, '');
  const unknown = /^Unknown arguments?: ([^,]+)/.exec(message)?.[1] ?? mistyped;
  const flags = [...new Set(commands.flatMap((command) => Object.keys(command.options).map(kebab)))];
  const meant = unknown === undefined || flags.includes(unknown) ? undefined : nearest(unknown, flags);
  const said = message.replaceAll('\n', ' ');
  const text = said.startsWith('Did you mean') ? `unknown command: ${words.join(' ')}. ${said}` : said;
  const path = words.filter((word) => /^[a-z]+$/.test(word)).slice(0, 2);
  const known = commands.filter((command) => path[0] === command.path[0]);
  return new TidemarkError('USAGE', meant === undefined ? text : `${text}; did you mean --${meant}?`, {
    next: `tidemark ${known.length > 0 ? `${path[0] ?? ''} ` : ''}--help`,
  });
}
