import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { playScenario } from './simulation/scenario-file.ts';

const folder = fileURLToPath(new URL('scenarios/', import.meta.url));
const textOf = (name: string): string => readFileSync(`${folder}${name}`, 'utf8');
/** With the requirements that its first line names. */
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.txt'))
  .map((name) => [name, /^#.* (\[R[R\d ]+\])$/m.exec(textOf(name))?.[1] ?? ''] as const);

/** `UPDATE=1` writes what came out; the difference is then for people to judge. */
test.each(files)('%s %s', async (name) => {
  const text = textOf(name);
  const played = await playScenario(text);
  if (process.env['UPDATE'] === '1') writeFileSync(`${folder}${name}`, played);
  else expect(played).toBe(text);
});
