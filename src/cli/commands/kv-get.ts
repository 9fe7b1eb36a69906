import { EXIT } from '../../base/index.ts';
import type { Run } from '../command.ts';
import type { kvKeyOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

/** Shows a value as text, and in JSON as base64 too, for a value may be any bytes. */
export const run: Run<Values<typeof kvKeyOptions>> = async ({ values, output }) => {
  const seen = { found: false };
  await withClient(values, async ({ kv }) => {
    const { key, namespace } = values;
    const entry = await kv.get(key, { namespace });
    const found = entry !== undefined;
    seen.found = found;
    if (entry === undefined) {
      output.result({ key, found }, () => `no key ${key} in namespace ${namespace}`);
      return;
    }
    const bytes = Buffer.from(entry.value);
    const { revision, version } = entry;
    const value = bytes.toString();
    output.result({ key, found, value, base64: bytes.toString('base64'), revision, version }, () => value);
  });
  return seen.found ? EXIT.ok : EXIT.notFound;
};
