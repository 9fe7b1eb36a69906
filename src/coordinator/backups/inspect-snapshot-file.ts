/** What a snapshot file holds, checked to the last row. */
import { TidemarkError } from '../../base/index.ts';
import { checkSnapshotFile, snapshotFileChunks } from '../../backup/index.ts';
import { inspectSnapshot, type SnapshotContents } from '../../statemachine/index.ts';

export interface InspectedSnapshot extends SnapshotContents {
  readonly bytes: number;
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly savedMs: number;
}

/** @throws TidemarkError `SNAPSHOT_INVALID`, `FORMAT_UNKNOWN`, `FILE_UNREADABLE`, `DATA_CORRUPT`. */
export async function inspectSnapshotFile(file: string): Promise<InspectedSnapshot> {
  const { header, bytes } = await checkSnapshotFile(file);
  const contents = await inspectSnapshot(snapshotFileChunks(file));
  const { version, savedMs } = header;
  const says = [header.clusterId, header.index, header.term, header.digest];
  const holds = [contents.clusterId, contents.index, contents.term, contents.digest];
  if (says.join() !== holds.join()) {
    throw new TidemarkError('SNAPSHOT_INVALID', `${file} says that it holds another state than it does`);
  }
  return { ...contents, bytes, version, savedMs };
}
