import { EXIT } from '../../base/index.ts';
import { inspectSnapshotFile } from '../../coordinator/index.ts';
import type { Run } from '../command.ts';
import type { snapshotStatusOptions } from '../commands.ts';
import type { Values } from '../option.ts';

/** Reads a whole file: what it shows has been checked, row by row. */
export const run: Run<Values<typeof snapshotStatusOptions>> = async ({ values, output }) => {
  const { file } = values;
  const found = await inspectSnapshotFile(file);
  const saved = new Date(found.savedMs).toISOString();
  output.result({ file, ...found, saved }, () =>
    [
      `cluster  ${found.clusterId}`,
      `entry    ${found.index} of term ${found.term}`,
      `digest   ${found.digest}`,
      `keys     ${found.keys}`,
      `sources  ${found.sources}`,
      `reports  ${found.reports}`,
      `size     ${found.bytes} bytes`,
      `saved    ${saved} by version ${found.version}`,
    ].join('\n'),
  );
  return EXIT.ok;
};
