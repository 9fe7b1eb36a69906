/**
 * `npm run chaos`, the short of it: two store shards and a report database, each with a replica, joins and
 * row states, the events without which a run proves nothing, and faults that the seed draws.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { ask } from '../support/broker.ts';
import { mariadbMissing } from '../support/mariadb.ts';

const SEED = '20';

it.skipIf(mariadbMissing())(
  'stays right under the faults that a seed draws',
  { timeout: 400_000 },
  async () => {
    await ask({ want: 'build' });
    const run = promisify(execFile)(process.execPath, [
      'scripts/chaos/main.mjs',
      ...['--minutes=1.5', `--seed=${SEED}`, '--draw=20', '--large=5000'],
    ]);
    const { stdout } = await run.catch((failed: unknown) => failed as { stdout: string });
    expect(stdout.split('\n').at(-2), stdout).toMatch(/ passed: 0 problems$/);
  },
);
