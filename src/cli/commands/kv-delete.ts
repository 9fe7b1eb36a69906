import type { Run } from '../command.ts';
import type { kvKeyOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof kvKeyOptions>> = ({ values, output }) =>
  withClient(values, async ({ kv }) => {
    const { key, namespace } = values;
    const { existed } = await kv.delete(key, { namespace });
    output.result({ key, existed }, () => (existed ? `${key} deleted` : `there was no key ${key}`));
  });
