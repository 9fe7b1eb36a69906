import { expect, test } from 'vitest';
import { simulate } from './simulation/simulation.ts';

const SEEDS = Number(process.env['TIDEMARK_SIM_SEEDS'] ?? 12);
const FIRST = Number(process.env['TIDEMARK_SIM_FIRST'] ?? 1);

test(
  'random faults: every oracle holds after every event, and the cluster recovers',
  { timeout: SEEDS * 10_000 },
  async () => {
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const result = await simulate(seed, 20_000);
      if (process.env['SIM_VERBOSE']) console.log(JSON.stringify(result));
      expect(result.violation, `seed ${seed}`).toBeUndefined();
    }
  },
);
