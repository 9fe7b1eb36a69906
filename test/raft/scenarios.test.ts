import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { playScenario } from './simulation/scenario-file.ts';

const folder = fileURLToPath(new URL('scenarios/', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.txt'));

/** `UPDATE=1` writes what came out; the difference is then for people to judge. */
test.each(files)('%s', async (name) => {
  const text = readFileSync(`${folder}${name}`, 'utf8');
  const played = await playScenario(text);
  if (process.env['UPDATE'] === '1') writeFileSync(`${folder}${name}`, played);
  else expect(played).toBe(text);
});
