/** A backup of a member that does not run: what its state folder holds. */
import { TidemarkError, systemClock } from '../base/index.ts';
import { snapshotBytes } from '../backup/index.ts';
import { openStateMachine } from '../statemachine/index.ts';
import { openDataFolder, type DataFolder } from './data-folder.ts';
import type { Identity } from './identity.ts';

/**
 * Reads a stopped member's state as the bytes of a snapshot file: up to the last entry that it had applied.
 * @throws TidemarkError `NOT_INITIALIZED`, `DATA_IN_USE` (the member runs), `DATA_CORRUPT`,
 * `FORMAT_UNKNOWN`.
 */
export async function* stoppedMemberSnapshot(
  path: string,
  version: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { folder, identity } = await openMemberFolder(path);
  try {
    const state = await openStateMachine({ folder: folder.statePath, clusterId: identity.clusterId });
    try {
      const { index, term, digest, chunks } = await state.snapshots.read();
      const { clusterId } = identity;
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
