/** Every command line that a page shows is understood by the program, also those that no test runs. */
import { expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import { parseCommandLine } from '../../src/cli/program.ts';
import { readFences } from '../support/fences.ts';
import { projectSources } from '../tidy/sources.ts';

/** Commands in code blocks, with their continued lines, and those in backquotes within the text. */
async function commandsIn(path: string, text: string): Promise<string[]> {
  const fences = (await readFences(path)).filter(({ language }) => language === 'sh');
  const lines = fences.flatMap((fence) => fence.text.replaceAll(/\\\n\s*/g, ' ').split('\n'));
  const typed = lines.flatMap((line) => /^(?:npx )?tidemark (.*)$/.exec(line)?.[1] ?? []);
  const starts = lines.flatMap((line) => /^npm start --\s+([^#]*)/.exec(line)?.[1] ?? []);
  const named = [...text.matchAll(/`(?:npx )?tidemark ([a-z][^`]*)`/g)].map((match) => match[1] ?? '');
  return [...typed, ...named, ...starts.map((rest) => `dev ${rest}`)];
}

it('shows only command lines that the program understands', async () => {
  const pages = projectSources('.md').filter(({ path }) => !path.startsWith('docs/decisions/'));
  let count = 0;
  for (const { path, text } of pages) {
    for (const command of await commandsIn(path, text)) {
      count += 1;
      const words = command.trim().split(/\s+/);
      await expect(
        parseCommandLine(words, { commands: COMMANDS, version: '0' }),
        `${path}: ${command}`,
      ).resolves.toBeDefined();
    }
  }
  expect(count).toBeGreaterThan(10);
});
