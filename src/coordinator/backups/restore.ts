/**
 * A new cluster from an old one's state (design section 5): another cluster id, a term above any that the old
 * cluster can have used, and as its first entry the operation that skips every number which the old one may
 * have given. All old members are strangers to it. It begins with one member, or with several that are each
 * restored from the same file: their logs are equal to the byte, as if they had been replicated.
 */
import {
  failpoint,
  logIndex,
  mutated,
  systemClock,
  term,
  type ClusterId,
  type LogIndex,
  type MemberId,
  type Term,
} from '../../base/index.ts';
import { checkSnapshotFile, snapshotFileChunks } from '../../backup/index.ts';
import { foundRaftFolder, type OfflineEntry } from '../../raft/index.ts';
import { encodeEntry, restoreState, snapshotAs } from '../../statemachine/index.ts';
import type { ExpectedMember } from '../members/data-folder.ts';
import { fillFolder } from './fill-folder.ts';
import { newCluster, refuseLoneRestoreId, sharedCluster, type NewCluster } from './restore-plan.ts';

export interface RestoreOptions {
  /** A file that `snapshot save` made. */
  readonly file: string;
  /** Data folder of the new member; made if missing, and empty. */
  readonly dataFolder: string;
  readonly own: ExpectedMember;
  /** All members of the new cluster, `own` among them, where each is restored. @default own alone */
  readonly members?: readonly ExpectedMember[];
  /** What restoring the first of several members returned. @default this is the first */
  readonly restoreId?: string | undefined;
}

export interface RestoredCluster {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  readonly oldClusterId: string;
  /** The last entry of the old cluster that is in it. */
  readonly index: LogIndex;
  /** The new cluster's terms are above this one. */
  readonly term: Term;
}

export interface RestoredMember extends RestoredCluster {
  /** For the other members; undefined where there are none. */
  readonly restoreId: string | undefined;
}

/**
 * Makes the data folder of a new cluster's member from a backup: of its only one, or of one of those listed.
 * @throws TidemarkError `SNAPSHOT_INVALID`, `FORMAT_UNKNOWN`, `FILE_UNREADABLE`, `FOLDER_NOT_EMPTY`,
 * `DATA_IN_USE`, `CONFIG_INVALID` (this machine's clock, the list of members, the restore id),
 * `STORAGE_FAILED`. The folder is as it was then.
 */
export async function restoreCluster(options: RestoreOptions): Promise<RestoredMember> {
  const { file, dataFolder, own, members = [], restoreId } = options;
  if (restoreId !== undefined && members.length === 0) refuseLoneRestoreId();
  const checked = await checkSnapshotFile(file);
  const { header } = checked;
  const shared = members.length === 0 ? undefined : sharedCluster(checked, { own, members, restoreId });
  const restored = await foundCluster(dataFolder, {
    cluster: shared?.cluster ?? newCluster({ id: header.clusterId, usedTerm: header.term }, own),
    oldClusterId: header.clusterId,
    at: { index: logIndex(header.index), term: term(header.term) },
    wallMs: mutated('backup.firstEntriesDiffer') ? systemClock.wallMs() : header.savedMs,
    chunks: snapshotFileChunks(file),
    tail: [],
  });
  return { ...restored, restoreId: shared?.restoreId };
}

/** What is left of an old cluster. */
export interface Remains {
  readonly cluster: NewCluster;
  readonly oldClusterId: string;
  /** Where the state in `chunks` stands. */
  readonly at: { readonly index: LogIndex; readonly term: Term };
  /** Wall time of the first entry: the same for all members, or their logs would differ. */
  readonly wallMs: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** What followed in the log. */
  readonly tail: AsyncIterable<OfflineEntry> | Iterable<OfflineEntry>;
}

/** Makes a data folder of what is left of a cluster. @throws TidemarkError as {@link restoreCluster}. */
export async function foundCluster(path: string, remains: Remains): Promise<RestoredCluster> {
  const { cluster, oldClusterId, at, wallMs, chunks, tail } = remains;
  const { clusterId, members, self } = cluster;
  await fillFolder(path, async ({ logPath, statePath }) => {
    const place = { folder: statePath, clusterId };
    await restoreState(place, snapshotAs(clusterId, chunks));
    const entries = followedBy(tail, { term: cluster.term, data: firstEntry(oldClusterId, wallMs) });
    const log = { clusterId, memberId: self.id, folder: logPath, members };
    await foundRaftFolder({ ...log, term: cluster.term, base: at, entries });
    await failpoint('backup.beforeIdentity');
    return { clusterId, memberId: self.id, members, joined: false, started: true, removed: false };
  });
  return { clusterId, memberId: self.id, oldClusterId, index: at.index, term: cluster.term };
}

async function* followedBy(
  entries: Remains['tail'],
  last: OfflineEntry,
): AsyncGenerator<OfflineEntry, void, undefined> {
  yield* entries;
  yield last;
}

/** Log time goes on from where the state stands. */
function firstEntry(formerId: string, wallMs: number): Uint8Array {
  const operations = [{ type: 'cluster.restore', v: 1, formerId } as const];
  return encodeEntry({ logTimeMs: 0, wallMs, items: [{ session: 0, sequence: 0, operations }] });
}
