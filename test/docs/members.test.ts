/** The how-to about members, run as it stands: from one to three, a killed one replaced, one removed. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { readFences } from '../support/fences.ts';
import { Terminals } from './terminals.ts';

const TIDEMARK = 'node dist/cli/main.js';

let terminals: Terminals;

// The program is built first.
beforeAll(async () => {
  // Each block of the page is typed in a shell of its own here: what one exports must outlive it.
  terminals = await Terminals.inClone({ TIDEMARK_ENDPOINTS: '127.0.0.1:7441,127.0.0.1:7442,127.0.0.1:7444' });
}, 60_000);

afterAll(() => terminals.close());

interface Shown {
  readonly members: readonly { readonly memberId: string; readonly role: string }[];
}

async function members(): Promise<Shown['members']> {
  const endpoints = '127.0.0.1:7441,127.0.0.1:7444';
  const text = await terminals.run(`${TIDEMARK} cluster members --output json --endpoints ${endpoints}`);
  return (JSON.parse(text) as Shown).members;
}

it('members come, are replaced and go as the page says', { timeout: 120_000 }, async () => {
  const fences = (await readFences('docs/how-to/members.md')).filter(({ language }) => language === 'sh');
  for (const { text, heading } of fences) {
    // The page says that it may be dead.
    if (heading.startsWith('Replace') && text.includes('cluster replace')) {
      await terminals.kill(terminals.find('--data ./m3') ?? '');
    }
    // Not through npx, which the README's test shows: each start of it costs a second.
    const command = text.replaceAll('npx tidemark', TIDEMARK);
    if (command.includes('coordinator start')) await terminals.open(command);
    else await terminals.run(command);
  }
  const found = await members();
  expect(found.map(({ memberId }) => memberId)).toEqual(['1', '4']);
  expect(found.map(({ role }) => role).sort()).toEqual(['leader', 'voter']);
  await eventually(() => terminals.said().includes('MEMBER_REMOVED'), {
    withinMs: 15_000,
    what: () => terminals.said(),
  });
});
