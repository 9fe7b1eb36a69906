/**
 * The protocol between cluster and report database as a model (design 6.7-6.12): random interleavings, judged
 * after each step. `npm run model` plays ten million steps; here it is 100,000.
 */
import { describe, expect, it } from 'vitest';
import { SEEN_FROM, without, type Clause } from './clauses.ts';
import { play } from './play.ts';

const STEPS = Number(process.env['TIDEMARK_MODEL_CASES'] ?? 100_000);
const SEED = Number(process.env['TIDEMARK_MODEL_SEED'] ?? 1);
const TIMEOUT_MS = 30_000 + STEPS / 20;

describe('the protocol between cluster and report database', () => {
  it(
    'keeps every cell right through failovers, restores, races and lost answers',
    () => {
      const { violation, happened } = play(SEED, STEPS);
      expect(violation).toBeUndefined();
      for (const rare of ['failover', 'restore', 'restored in place', 'skip', 'fold', 'define']) {
        expect(happened.get(rare)).toBeGreaterThan(STEPS / 500);
      }
    },
    TIMEOUT_MS,
  );

  it.each(Object.entries(SEEN_FROM))('needs %s', (clause, seed) => {
    expect(play(seed, 600_000, without(clause as Clause)).violation).toBeDefined();
  });

  it('needs one of two: an answer of the current version, or of the current epoch', () => {
    const rules = without('doneOfCurrentVersion', 'answerOfCurrentEpoch');
    expect(play(50, 600_000, rules).violation).toBeDefined();
  });

  it('needs one of two: a new version under each epoch, or an answer of the current epoch', () => {
    const rules = without('assignedGetNewVersion', 'answerOfCurrentEpoch');
    expect(play(50, 600_000, rules).violation).toBeDefined();
  });
});
