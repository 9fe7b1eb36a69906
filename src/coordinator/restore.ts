/**
 * A new cluster from an old one's state (design section 5): another cluster id, one member, a term above any
 * that the old cluster can have used, and as its first entry the operation that skips every number which the
 * old one may have given. All old members are strangers to it.
 */
import { randomBytes } from 'node:crypto';
import {
  TERM_MAX,
  TidemarkError,
  clusterId,
  failpoint,
  logIndex,
  memberId,
  mutated,
  systemClock,
  term,
  type ClusterId,
  type LogIndex,
  type Term,
} from '../base/index.ts';
import { checkSnapshotFile, snapshotFileChunks } from '../backup/index.ts';
import { foundRaftFolder, type OfflineEntry } from '../raft/index.ts';
import { encodeEntry, restoreState, snapshotAs } from '../statemachine/index.ts';
import type { ExpectedMember } from './data-folder.ts';
import { fillFolder } from './fill-folder.ts';

/** Elections that an old cluster may have held after a backup. */
const TERMS_SKIPPED = 4_096;
/** A cluster that elects every minute since then is still below. */
const TERMS_SINCE_MS = Date.UTC(2026, 0, 1);

export interface RestoreOptions {
  /** A file that `snapshot save` made. */
  readonly file: string;
  /** Data folder of the new member; made if missing, and empty. */
  readonly dataFolder: string;
  readonly own: ExpectedMember;
}

export interface RestoredCluster {
  readonly clusterId: ClusterId;
  readonly oldClusterId: string;
  /** The last entry of the old cluster that is in it. */
  readonly index: LogIndex;
  /** The new cluster's terms are above this one. */
  readonly term: Term;
}

/**
 * Makes the data folder of a new cluster's only member from a backup.
 * @throws TidemarkError `SNAPSHOT_INVALID`, `FORMAT_UNKNOWN`, `FILE_UNREADABLE`, `FOLDER_NOT_EMPTY`,
 * `DATA_IN_USE`, `CONFIG_INVALID` (this machine's clock), `STORAGE_FAILED`. The folder is as it was then.
 */
export async function restoreCluster({ file, dataFolder, own }: RestoreOptions): Promise<RestoredCluster> {
  const { header } = await checkSnapshotFile(file);
  return foundCluster(dataFolder, {
    own,
    oldClusterId: header.clusterId,
    at: { index: logIndex(header.index), term: term(header.term) },
    usedTerm: header.term,
    chunks: snapshotFileChunks(file),
    tail: [],
  });
}

/** What is left of an old cluster. */
export interface Remains {
  readonly own: ExpectedMember;
  readonly oldClusterId: string;
  /** Where the state in `chunks` stands. */
  readonly at: { readonly index: LogIndex; readonly term: Term };
  /** The highest term that is known of. */
  readonly usedTerm: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** What followed in the log. */
  readonly tail: AsyncIterable<OfflineEntry> | Iterable<OfflineEntry>;
}

/** Makes a data folder of what is left of a cluster. @throws TidemarkError as {@link restoreCluster}. */
export async function foundCluster(path: string, remains: Remains): Promise<RestoredCluster> {
  const { own, oldClusterId, at, chunks, tail } = remains;
  const newTerm = termAbove(remains.usedTerm);
  const id = clusterId(mutated('backup.clusterIdKept') ? oldClusterId : randomBytes(16).toString('hex'));
  const self = { id: memberId(1), ...own };
  await fillFolder(path, async ({ logPath, statePath }) => {
    const place = { folder: statePath, clusterId: id };
    await restoreState(place, snapshotAs(id, chunks));
    const entries = followedBy(tail, { term: newTerm, data: firstEntry() });
    const log = { clusterId: id, memberId: self.id, folder: logPath, members: [self] };
    await foundRaftFolder({ ...log, term: newTerm, base: at, entries });
    await failpoint('backup.beforeIdentity');
    return {
      clusterId: id,
      memberId: self.id,
      members: [self],
      joined: false,
      started: true,
      removed: false,
    };
  });
  return { clusterId: id, oldClusterId, index: at.index, term: newTerm };
}

async function* followedBy(
  entries: Remains['tail'],
  last: OfflineEntry,
): AsyncGenerator<OfflineEntry, void, undefined> {
  yield* entries;
  yield last;
}

/** Log time goes on from where the state stands. */
function firstEntry(): Uint8Array {
  const operations = [{ type: 'cluster.restore', v: 1 } as const];
  const wallMs = systemClock.wallMs();
  return encodeEntry({ logTimeMs: 0, wallMs, items: [{ session: 0, sequence: 0, operations }] });
}

/** Fencing tokens begin with the term: the new cluster's are above all that the old one can have given. */
function termAbove(used: number): Term {
  const sinceMs = systemClock.wallMs() - TERMS_SINCE_MS;
  const raised = Math.max(used + TERMS_SKIPPED, Math.floor(sinceMs / 60_000));
  if (raised >= TERM_MAX) {
    throw new TidemarkError('CONFIG_INVALID', `term ${raised} would be beyond the last one, ${TERM_MAX}`, {
      next: 'Set the clock of this machine.',
    });
  }
  return term(mutated('backup.termNotRaised') ? used : raised);
}
