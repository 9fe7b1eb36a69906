import { EXIT } from '../../base/index.ts';
import type { Run } from '../command.ts';
import type { kvCasOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

/** Ends with the exit code of a failure if the key stood at another revision. */
export const run: Run<Values<typeof kvCasOptions>> = async ({ values, output }) => {
  const seen = { applied: false };
  await withClient(values, async ({ kv }) => {
    const { key, value, expected, namespace } = values;
    const result = await kv.cas(key, { expected, value }, { namespace });
    const { applied, revision } = result;
    seen.applied = applied;
    output.result({ key, applied, revision }, () =>
      applied
        ? `${key} written at revision ${revision}`
        : `nothing written: ${key} is at revision ${revision}`,
    );
  });
  return seen.applied ? EXIT.ok : EXIT.failed;
};
