import { EXIT } from '../../base/index.ts';
import { restoreCluster } from '../../coordinator/index.ts';
import type { Run } from '../command.ts';
import type { snapshotRestoreOptions } from '../commands.ts';
import type { Values } from '../option.ts';

/** Makes the folder of a new cluster's only member; others are added when it runs. */
export const run: Run<Values<typeof snapshotRestoreOptions>> = async ({ values, output }) => {
  const { file, dataFolder, peerAddress, clientAddress } = values;
  const restored = await restoreCluster({ file, dataFolder, own: { peerAddress, clientAddress } });
  const { clusterId, oldClusterId, index, term } = restored;
  output.result({ dataFolder, clusterId, oldClusterId, index, term }, () =>
    [
      `${dataFolder}: cluster ${clusterId}, with the state of ${oldClusterId} as of entry ${index}`,
      `start it: tidemark coordinator start --data ${dataFolder} ` +
        `--peer-listen ${peerAddress} --client-listen ${clientAddress}`,
    ].join('\n'),
  );
  return EXIT.ok;
};
