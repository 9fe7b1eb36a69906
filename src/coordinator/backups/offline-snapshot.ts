/**
 * A backup of a member that does not run: what its state folder holds. The state is written behind the
 * replies, so after a crash the log, which is synced before them, may have acknowledged entries that the
 * state lacks. Which of them were committed is not known here: they are told of, not saved.
 */
import { TidemarkError, mutated, systemClock } from '../../base/index.ts';
import { snapshotBytes } from '../../backup/index.ts';
import { readRaftFolder, type OfflineLog } from '../../raft/index.ts';
import { openStateMachine, type StateMachine } from '../../statemachine/index.ts';
import { openDataFolder, type DataFolder } from '../members/data-folder.ts';
import type { Identity } from '../members/identity.ts';

/** Where a stopped member's state ends, and where its log does. */
export interface OfflineEnd {
  readonly index: number;
  readonly lastIndex: number;
}

/**
 * Reads a stopped member's state as the bytes of a snapshot file, up to the last entry whose effect it has on
 * disk. Calls `onBehind` before the first byte if its log goes on after that: those entries may have been
 * acknowledged.
 * @throws TidemarkError `NOT_INITIALIZED`, `DATA_IN_USE` (the member runs), `DATA_CORRUPT` (also if its log
 * has forgotten what the state lacks), `FORMAT_UNKNOWN`.
 */
export async function* stoppedMemberSnapshot(
  path: string,
  version: string,
  onBehind: (end: OfflineEnd) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { folder, identity } = await openMemberFolder(path);
  try {
    const { clusterId, memberId } = identity;
    const state = await openStateMachine({ folder: folder.statePath, clusterId });
    try {
      const log = await readRaftFolder({ clusterId, memberId, folder: folder.logPath });
      await log.close();
      mustBelongTogether(path, state, log);
      const { index, term, digest, chunks } = await state.snapshots.read();
      const { lastIndex } = log;
      if (lastIndex > index && !mutated('backup.tailUntold')) onBehind({ index, lastIndex });
      const savedMs = systemClock.wallMs();
      yield* snapshotBytes({ clusterId, index, term, digest, version, savedMs }, chunks);
    } finally {
      await state.close();
    }
  } finally {
    await folder.close();
  }
}

/**
 * Compares a stopped member's state with its log. A state may be ahead of the log only if it is a snapshot
 * that was installed just before the end: its log would have followed.
 * @throws TidemarkError `DATA_CORRUPT`.
 */
export function mustBelongTogether(
  path: string,
  { appliedIndex, snapshots }: Pick<StateMachine, 'appliedIndex' | 'snapshots'>,
  { baseIndex, lastIndex }: Pick<OfflineLog, 'baseIndex' | 'lastIndex'>,
): void {
  const ahead = appliedIndex > lastIndex && snapshots.installed === undefined;
  if (appliedIndex >= baseIndex && !ahead) return;
  throw new TidemarkError('DATA_CORRUPT', `log and state in ${path} do not belong together`, {
    next: 'Use another member, or a backup.',
  });
}

/**
 * Locks the folder of a member that has run and does not run now.
 * @throws TidemarkError as {@link stoppedMemberSnapshot}.
 */
export async function openMemberFolder(
  path: string,
): Promise<{ readonly folder: DataFolder; readonly identity: Identity }> {
  const folder = await openDataFolder(path);
  const { identity } = folder;
  if (identity?.started === true) return { folder, identity };
  await folder.close();
  throw new TidemarkError('NOT_INITIALIZED', `${path} is not the folder of a member that has run`, {
    next: 'Name the folder that the coordinator was started with (--data).',
  });
}
