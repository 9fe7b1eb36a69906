import { EXIT } from '../../base/index.ts';
import { writeSnapshotFile, type WrittenSnapshot } from '../../backup/index.ts';
import { stoppedMemberSnapshot, type OfflineEnd } from '../../coordinator/index.ts';
import type { Run } from '../command.ts';
import type { Output } from '../output.ts';
import type { snapshotSaveOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { packageVersion } from '../package-version.ts';
import { connectWith } from './remote.ts';

/** Writes the whole state as of one entry; the file is there only when it is complete and on disk. */
export const run: Run<Values<typeof snapshotSaveOptions>> = async ({ values, output }) => {
  const { header, bytes } = await save(values, output);
  const { clusterId, index, term, digest } = header;
  output.result(
    { file: values.file, bytes, clusterId, index, term, digest },
    () => `${values.file}: ${bytes} bytes, cluster ${clusterId} as of entry ${index}, digest ${digest}`,
  );
  return EXIT.ok;
};

async function save(values: Values<typeof snapshotSaveOptions>, output: Output): Promise<WrittenSnapshot> {
  const { file, dataFolder } = values;
  if (dataFolder !== undefined) {
    const onBehind = ({ index, lastIndex }: OfflineEnd): void => {
      output.progress(
        `warning: the log in ${dataFolder} goes on to entry ${lastIndex}, the backup ends at ${index}. ` +
          'What is missing may have been acknowledged. To save it, too, start this coordinator and its ' +
          'cluster and save from there; if a majority is lost for ever, use "tidemark cluster recover".',
      );
    };
    return writeSnapshotFile(file, stoppedMemberSnapshot(dataFolder, await packageVersion(), onBehind));
  }
  const client = connectWith(values);
  try {
    return await writeSnapshotFile(file, client.snapshot());
  } finally {
    client.close();
  }
}
