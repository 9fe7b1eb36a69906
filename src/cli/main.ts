#!/usr/bin/env node
/** The command line's entry: parses, runs one command, shows its error, and sets the exit code. */
import { AssertionError, EXIT, toTidemarkError } from '../base/index.ts';
import { COMMANDS } from './commands.ts';
import { readConfigFile } from './config-file.ts';
import { createOutput, type OutputFormat } from './output.ts';
import { packageVersion } from './package-version.ts';
import { parseCommandLine } from './program.ts';
import { renderError } from './render-error.ts';
import { resolveSettings } from './settings.ts';

async function main(words: readonly string[]): Promise<number> {
  let format: OutputFormat = askedForJson(words) ? 'json' : 'table';
  try {
    const parsed = await parseCommandLine(words, { commands: COMMANDS, version: await packageVersion() });
    if (parsed === undefined) return EXIT.ok;
    const { command, flags } = parsed;
    const environment = process.env;
    const file = await readConfigFile(
      configName(flags['config'] ?? environment['TIDEMARK_CONFIG']),
      COMMANDS,
    );
    const values = resolveSettings(command, { flags, environment, file });
    format = values['output'] as OutputFormat;
    const output = createOutput(format, process.stdout, process.stderr);
    const run = await command.load();
    return await run({ values: values as never, output, environment });
  } catch (error) {
    process.stderr.write(`${renderError(error, format)}\n`);
    return error instanceof AssertionError ? EXIT.internal : toTidemarkError(error).exitCode;
  }
}

/** An empty variable counts as none, as for every other setting. */
function configName(name: string | undefined): string | undefined {
  return name === '' ? undefined : name;
}

/** For errors that come before the settings are known. */
function askedForJson(words: readonly string[]): boolean {
  return words.includes('--output=json') || words[words.indexOf('--output') + 1] === 'json';
}

// Node complains about certificates of plain addresses (DEP0123); who types a command can do nothing about
// it.
Object.assign(process, { noDeprecation: true });
// A reader that has gone (`tidemark window list | head`) is no error of ours.
process.stdout.on('error', () => process.exit(EXIT.ok));
// Connections, timers and the channel to a parent may be open still; the result is written (pipes are
// synchronous).
process.exit(await main(process.argv.slice(2)));
