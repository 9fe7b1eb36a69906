import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { decodeReplies, type AppliedEntry } from '../../src/statemachine/index.ts';
import { applyRest, open, restored, temporaryFolder } from './support/folder.ts';
import { randomHistory } from './support/history.ts';
import { rule } from '../support/rule.ts';

const ENTRIES = 200;

interface Outcome {
  readonly digest: string;
  readonly replies: readonly Uint8Array[];
}

async function run(history: readonly AppliedEntry[], groupOf: number): Promise<Outcome> {
  const machine = await open(await temporaryFolder());
  const replies = await applyRest(machine, history, groupOf);
  const { digest } = machine.view();
  await machine.close();
  return { digest, replies };
}

async function runWithRestarts(history: readonly AppliedEntry[], every: number): Promise<Outcome> {
  const folder = await temporaryFolder();
  const replies: Uint8Array[] = [];
  let digest = '';
  for (let to = every; to - every < history.length; to += every) {
    const machine = await open(folder);
    replies.push(...(await applyRest(machine, history.slice(0, to), 7)));
    ({ digest } = machine.view());
    await machine.close();
  }
  return { digest, replies };
}

async function runOverSnapshot(history: readonly AppliedEntry[], at: number): Promise<Outcome> {
  const first = await open(await temporaryFolder());
  const replies = await applyRest(first, history.slice(0, at), 16);
  const folder = await temporaryFolder();
  const second = await restored(folder, first.snapshot());
  await first.close();
  replies.push(...(await applyRest(second, history, 16)));
  const { digest } = second.view();
  await second.close();
  return { digest, replies };
}

describe('the state is a function of the log', () => {
  it('has operations of every family, accepted and refused ones, in the histories of this test', async () => {
    const { replies } = await run(randomHistory(1, ENTRIES), 16);
    const results = replies.flatMap((reply) => decodeReplies(reply)).flat();
    const refused = new Set(results.flatMap((result) => (result.ok ? [] : [result.code])));
    expect(results.filter((result) => result.ok).length).toBeGreaterThan(ENTRIES);
    for (const code of ['STALE_VERSION', 'SESSION_EXPIRED', 'UNKNOWN_TASK', 'STALE_EPOCH']) {
      expect([...refused]).toContain(code);
    }
  });

  for (const seed of [1, 2]) {
    rule(
      'state.digestIgnoresDeletes',
      `by groups, restarts and snapshot alike (seed ${seed}) [R36 R67]`,
      async () => {
        const history = randomHistory(seed, ENTRIES);
        const reference = await run(history, 1);
        expect(await run(history, 1_000)).toEqual(reference);
        expect(await runWithRestarts(history, 50)).toEqual(reference);
        expect(await runOverSnapshot(history, ENTRIES / 2)).toEqual(reference);
      },
    );
  }

  it('shows every group to its listeners, and bounds a group by bytes', async () => {
    const machine = await open(await temporaryFolder());
    const seen: number[] = [];
    const stop = machine.onApplied((index) => seen.push(index));
    const history = randomHistory(5, ENTRIES * 4);
    await machine.apply(history);
    stop();
    expect(seen.at(-1)).toBe(history.length);
    const bytes = history.reduce((sum, entry) => sum + entry.data.length, 0);
    expect(bytes).toBeGreaterThan(LIMITS.applyGroupBytesMax);
    expect(seen.length).toBe(Math.ceil(bytes / LIMITS.applyGroupBytesMax));
    await machine.close();
  });
});
