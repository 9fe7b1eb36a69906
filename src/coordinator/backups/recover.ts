/**
 * A new cluster from one member of an old one that lost its majority for ever. It gets all that the member's
 * log holds, to the last entry: whether that was committed is not known any more, and what was acknowledged
 * elsewhere only is lost. The old folder stays as it is.
 */
import { logIndex, mutated, systemClock } from '../../base/index.ts';
import { readRaftFolder, type OfflineLog } from '../../raft/index.ts';
import { openStateMachine, type StateMachine } from '../../statemachine/index.ts';
import { memberRemoved } from '../coded-error.ts';
import type { ExpectedMember } from '../members/data-folder.ts';
import { ownMember, type Identity } from '../members/identity.ts';
import { mustBelongTogether, openMemberFolder } from './offline-snapshot.ts';
import { newCluster } from './restore-plan.ts';
import { foundCluster, type RestoredCluster } from './restore.ts';

export interface RecoverOptions {
  /** Of the member that is left; it must not run. */
  readonly dataFolder: string;
  /** Of the new member; made if missing, and empty. */
  readonly into: string;
  /** @default the addresses of the member that is left */
  readonly own: Partial<ExpectedMember>;
}

export interface RecoveredCluster extends RestoredCluster {
  readonly own: ExpectedMember;
  /** The last entry of the old log; what follows the applied one may never have been committed. */
  readonly lastIndex: number;
}

/**
 * Makes the data folder of a new cluster's only member.
 * @throws TidemarkError `NOT_INITIALIZED`, `DATA_IN_USE`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`,
 * `MEMBER_REMOVED`, `FOLDER_NOT_EMPTY`, `CONFIG_INVALID` (this machine's clock), `STORAGE_FAILED`.
 */
export async function recoverCluster(options: RecoverOptions): Promise<RecoveredCluster> {
  const { folder, identity } = await openMemberFolder(options.dataFolder);
  try {
    if (identity.removed) throw memberRemoved(identity);
    const { clusterId, memberId } = identity;
    const state = await openStateMachine({ folder: folder.statePath, clusterId });
    try {
      const log = await readRaftFolder({ clusterId, memberId, folder: folder.logPath });
      try {
        return await recover(options, { identity, state, log });
      } finally {
        await log.close();
      }
    } finally {
      await state.close();
    }
  } finally {
    await folder.close();
  }
}

interface Old {
  readonly identity: Identity;
  readonly state: StateMachine;
  readonly log: OfflineLog;
}

async function recover(options: RecoverOptions, { identity, state, log }: Old): Promise<RecoveredCluster> {
  const { dataFolder, into } = options;
  mustBelongTogether(dataFolder, state, log);
  const ahead = state.appliedIndex > log.lastIndex;
  const { index, term, chunks } = await state.snapshots.read();
  const { peerAddress, clientAddress } = ownMember(identity);
  const own = { peerAddress, clientAddress, ...options.own };
  const founded = await foundCluster(into, {
    cluster: newCluster({ id: identity.clusterId, usedTerm: log.term }, own),
    oldClusterId: identity.clusterId,
    at: { index, term },
    wallMs: systemClock.wallMs(),
    chunks,
    tail: ahead || mutated('backup.recoverWithoutTail') ? [] : log.entries(logIndex(index + 1)),
  });
  return { ...founded, own, lastIndex: Math.max(index, log.lastIndex) };
}
