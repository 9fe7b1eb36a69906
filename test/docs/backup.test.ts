/** The page on backups, run as it stands. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { readFences } from '../support/fences.ts';
import { Terminals } from './terminals.ts';

let terminals: Terminals;

beforeAll(async () => {
  terminals = await Terminals.inClone({});
});

afterAll(() => terminals.close());

it('shows what it says', { timeout: 90_000 }, async () => {
  const fences = await readFences('docs/how-to/backup.md');
  for (const [index, { language, text }] of fences.entries()) {
    const following = fences[index + 1];
    // What needs machines of the reader's own is written without npx.
    if (language !== 'sh' || !text.startsWith('npx')) continue;
    // The page says so in words.
    if (text.includes('snapshot restore')) await terminals.kill(terminals.find('--data ./c1') ?? '');
    if (following?.language !== 'text') {
      await terminals.type(text);
      continue;
    }
    const check = async (): Promise<void> => {
      expect((await terminals.run(text)).trim()).toBe(following.text);
    };
    await eventually(check, { withinMs: 20_000, everyMs: 300, what: () => terminals.said() });
  }
});
