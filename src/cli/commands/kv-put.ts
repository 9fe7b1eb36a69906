import type { Run } from '../command.ts';
import type { kvPutOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof kvPutOptions>> = ({ values, output }) =>
  withClient(values, async ({ kv }) => {
    const { key, value, namespace } = values;
    const { revision } = await kv.put(key, value, { namespace });
    output.result({ key, revision }, () => `${key} written at revision ${revision}`);
  });
