import { EXIT, TidemarkError } from '../../base/index.ts';
import { recoverCluster } from '../../coordinator/index.ts';
import type { Run } from '../command.ts';
import type { clusterRecoverOptions } from '../commands.ts';
import type { Values } from '../option.ts';

/** Makes the folder of a new cluster's only member from the one that is left; others are added later. */
export const run: Run<Values<typeof clusterRecoverOptions>> = async ({ values, output }) => {
  const { dataFolder, into, peerAddress, clientAddress } = values;
  if (!values.confirmQuorumLost) {
    throw new TidemarkError('USAGE', 'recovering makes another cluster of what one member has', {
      next:
        'If a majority of the old members can run again, start them instead: nothing is lost then. ' +
        'If not, make sure that none of them runs, and add --confirm-quorum-lost.',
    });
  }
  const own = {
    ...(peerAddress === undefined ? {} : { peerAddress }),
    ...(clientAddress === undefined ? {} : { clientAddress }),
  };
  const recovered = await recoverCluster({ dataFolder, into, own });
  const { clusterId, oldClusterId, index, lastIndex, term } = recovered;
  const unsure = lastIndex - index;
  output.result({ into, clusterId, oldClusterId, appliedIndex: index, lastIndex, term }, () =>
    [
      `${into}: cluster ${clusterId}, with what one member of ${oldClusterId} had up to entry ${lastIndex}`,
      ...(unsure === 0 ? [] : [`the last ${unsure} entries may never have been committed`]),
      `start it: tidemark coordinator start --data ${into} ` +
        `--peer-listen ${recovered.own.peerAddress} --client-listen ${recovered.own.clientAddress}`,
    ].join('\n'),
  );
  return EXIT.ok;
};
