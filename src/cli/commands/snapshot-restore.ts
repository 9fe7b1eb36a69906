import { EXIT } from '../../base/index.ts';
import { restoreCluster, type RestoredMember } from '../../coordinator/index.ts';
import type { Run } from '../command.ts';
import type { snapshotRestoreOptions } from '../commands.ts';
import type { Values } from '../option.ts';

type RestoreValues = Values<typeof snapshotRestoreOptions>;

/** Makes the folder of a new cluster's only member, to which others are added, or of one of several. */
export const run: Run<RestoreValues> = async ({ values, output }) => {
  const { file, dataFolder, peerAddress, clientAddress, members, restoreId } = values;
  const own = { peerAddress, clientAddress };
  const restored = await restoreCluster({ file, dataFolder, own, members, restoreId });
  const { clusterId, memberId, oldClusterId, index, term } = restored;
  const document = { dataFolder, clusterId, memberId, oldClusterId, index, term };
  output.result({ ...document, restoreId: restored.restoreId ?? null }, () =>
    [
      `${dataFolder}: cluster ${clusterId}, with the state of ${oldClusterId} as of entry ${index}`,
      `start it: tidemark coordinator start --data ${dataFolder} ` +
        `--peer-listen ${peerAddress} --client-listen ${clientAddress}`,
      ...forTheOthers(values, restored),
    ].join('\n'),
  );
  return EXIT.ok;
};

function forTheOthers({ file, members }: RestoreValues, { memberId, restoreId }: RestoredMember): string[] {
  if (restoreId === undefined) return [];
  const list = members.map((one) => `${one.peerAddress}/${one.clientAddress}`).join(',');
  return [
    `it is member ${memberId} of ${members.length}; each other one, once, with its own folder and addresses:`,
    `tidemark snapshot restore ${file} --members ${list} --restore-id ${restoreId} ` +
      '--data-folder FOLDER --peer-address PEER --client-address CLIENT',
  ];
}
