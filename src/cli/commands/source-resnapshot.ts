import { TidemarkError } from '../../base/index.ts';
import type { Run } from '../command.ts';
import type { sourceResnapshotOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof sourceResnapshotOptions>> = ({ values, output }) => {
  const { source, yes } = values;
  if (!yes) {
    throw new TidemarkError('USAGE', `all rows of ${source} would be read again`, {
      next: `Say that you mean it: tidemark source resnapshot ${source} --yes`,
    });
  }
  return withClient(values, async (client) => {
    const window = await client.resnapshot(source);
    output.result({ source, window }, () => `${source} is read again, behind window ${window}`);
  });
};
