/** Each window shows once, in whatever order windows merge, and not again on a kept folder. */
import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../src/base/index.ts';
import { createScreen } from '../../src/dev/screen.ts';
import { WindowWatch } from '../../src/dev/window-watch.ts';
import { WindowInfo } from '../../src/wire/index.ts';

const windowOf = (number: number, state: string): WindowInfo =>
  WindowInfo.fromPartial({
    source: 'shop',
    window: BigInt(number),
    state,
    rows: 10n,
    sealedMs: 100n,
    mergedMs: 150n,
    tasks: 9,
    tasksDone: 4,
  });

/** Shows the looks one after the other, then ends. A look that is an error is thrown. */
async function watch(
  looks: readonly (readonly WindowInfo[] | TidemarkError)[],
  { resumed = false, isTTY = false } = {},
): Promise<string> {
  const over = new AbortController();
  const waiting = [...looks];
  let shown = '';
  const terminal = { isTTY, write: (text: string) => (shown += text) };
  await new WindowWatch({
    list() {
      const look = waiting.shift() ?? [];
      if (waiting.length === 0) over.abort();
      return look instanceof TidemarkError ? Promise.reject(look) : Promise.resolve(look);
    },
    screen: createScreen(terminal),
    freshnessMs: () => 700.4,
    onMerged: () => undefined,
    resumed,
  }).run(over.signal);
  return shown;
}

const line = (number: number): string => `window ${number}  10 rows  merged in 50 ms  fresh within 700 ms\n`;

describe('window lines', () => {
  it('show each merged window once, also one that merges late', async () => {
    const first = [windowOf(3, 'MERGED'), windowOf(2, 'SEALED'), windowOf(1, 'FINAL')];
    const second = [windowOf(3, 'FINAL'), windowOf(2, 'MERGED'), windowOf(1, 'FINAL')];
    expect(await watch([first, second, second])).toBe(line(1) + line(3) + line(2));
  });

  it('leave out what an earlier run merged', async () => {
    const kept = [windowOf(2, 'FINAL'), windowOf(1, 'FINAL')];
    expect(await watch([kept, [windowOf(3, 'MERGED'), ...kept]], { resumed: true })).toBe(line(3));
  });

  it('go on after a moment without a leader', async () => {
    const gone = new TidemarkError('NO_LEADER', 'between two leaders');
    expect(await watch([gone, [windowOf(1, 'MERGED')]])).toBe(line(1));
  });

  it('do not hide an error that will not pass', async () => {
    await expect(watch([new TidemarkError('CLUSTER_MISMATCH', 'another cluster')])).rejects.toThrow(
      'another',
    );
  });

  it('write over the line of the window at hand on a terminal', async () => {
    const shown = await watch([[windowOf(1, 'SEALED')], [windowOf(1, 'MERGED')]], { isTTY: true });
    expect(shown).toBe(`window 1  10 rows  4/9 tasks merged\r\u001b[2K${line(1)}`);
  });
});
