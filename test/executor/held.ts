/** A gatherer that holds whatever comes: for tests of what is computed. */
import { Gatherer } from '../../src/executor/compute/gatherer.ts';
import type { HeldContribution } from '../../src/executor/sink/contribution.ts';
import type { Contribution } from '../../src/executor/sink/merge.ts';

export function holdAll(): Gatherer {
  return new Gatherer({
    heldMax: Number.POSITIVE_INFINITY,
    rowsMax: 10_000_000,
    pieceRows: 1_000,
    stage: () => Promise.resolve(undefined),
  });
}

export function held(contribution: Contribution): HeldContribution {
  if ('additive' in contribution) return contribution;
  throw new Error('it was staged');
}
