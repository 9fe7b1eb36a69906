/** What a fold leaves is swept after its answer, and nobody waits for anybody else's sweeping. */
import { expect, it } from 'vitest';
import { Housekeeper, type Chore, type Done } from '../../src/executor/housekeeper.ts';
import type { HousekeepingOutcome } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';

const foldOf = (reportId: bigint): Chore => ({
  kind: 'fold',
  order: {
    ...{ reportId, token: 10n + reportId, leaderTerm: 1n, generation: 1n, sourceId: 1n },
    ...{ sinkId: 1n, sinkEpoch: 1n, ends: [], superseded: [] },
  },
});

interface World {
  readonly housekeeper: Housekeeper;
  readonly outcomes: HousekeepingOutcome[];
  readonly warned: unknown[];
}

function worldOf(carryOut: (chore: Chore, signal: AbortSignal) => Done): World {
  const outcomes: HousekeepingOutcome[] = [];
  const warned: unknown[] = [];
  const log = { info: () => undefined, warn: (fields: unknown) => void warned.push(fields) };
  const housekeeper = new Housekeeper({
    carryOut: (chore, signal) => Promise.resolve(carryOut(chore, signal)),
    report: (outcome) => void outcomes.push(outcome),
    log,
  });
  return { housekeeper, outcomes, warned };
}

rule(
  'fold.answersAfterSweeping',
  'a fold is answered before it is swept, however long that takes',
  async () => {
    const swept = { pieces: 0 };
    const answeredAt: number[] = [];
    const { housekeeper, outcomes } = worldOf(() => ({
      window: 7,
      sweep: () => {
        answeredAt.push(outcomes.length);
        swept.pieces += 1;
        return Promise.resolve(swept.pieces < 1_000);
      },
    }));
    housekeeper.dispatch(foldOf(1n));
    await eventually(() => swept.pieces >= 1_000, { withinMs: 5_000 });
    await housekeeper.stop();
    expect(outcomes).toMatchObject([{ token: 11n, window: 7n, errorCode: '' }]);
    expect(answeredAt[0]).toBe(1);
  },
);

rule('sweeper.reportsWait', 'reports are swept in turns', async () => {
  const order: bigint[] = [];
  const { housekeeper } = worldOf(({ order: { token } }) => {
    let left = token === 11n ? 50 : 3;
    return {
      window: 1,
      sweep: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        order.push(token);
        left -= 1;
        return left > 0;
      },
    };
  });
  housekeeper.dispatch(foldOf(1n));
  housekeeper.dispatch(foldOf(2n));
  await eventually(() => order.length === 53, { withinMs: 5_000 });
  expect(order.lastIndexOf(12n)).toBeLessThan(10);
  await housekeeper.stop();
});

it('sweeping ends when its executor stops, is told to, or fails; the answer stands', async () => {
  const pieces = new Map<bigint, number>();
  const { housekeeper, outcomes, warned } = worldOf(({ order: { token } }) => ({
    window: 1,
    sweep: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      pieces.set(token, (pieces.get(token) ?? 0) + 1);
      if (token === 13n) throw new Error('no such table');
      return true;
    },
  }));
  for (const reportId of [1n, 2n, 3n]) housekeeper.dispatch(foldOf(reportId));
  await eventually(() => pieces.size === 3, { withinMs: 5_000 });
  housekeeper.cancel(12n);
  await eventually(() => warned.length === 2, { withinMs: 5_000 });
  const then = [pieces.get(12n), pieces.get(13n)];
  const before = pieces.get(11n) ?? 0;
  await eventually(() => (pieces.get(11n) ?? 0) > before + 10, { withinMs: 5_000 });
  await housekeeper.stop();
  expect([pieces.get(12n), pieces.get(13n)]).toEqual(then);
  expect(outcomes.map(({ errorCode }) => errorCode)).toEqual(['', '', '']);
  expect(warned).toMatchObject([{}, {}, { chore: 'fold 1', code: 'CANCELLED' }]);
});
