/**
 * The data folder of one coordinator: one process at a time, one member for ever.
 *
 *     identity.json   who this member is (absent until `cluster init`)
 *     lock/           an empty LevelDB: its lock is the kernel's, so that kill -9 leaves none behind
 *     log/            the Raft log
 *     state/          the replicated state
 */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Level } from 'level';
import { TidemarkError, mutated } from '../../base/index.ts';
import { memberRemoved } from '../coded-error.ts';
import { IDENTITY_FILE, isMissing, ownMember, readIdentity, type Identity } from './identity.ts';

export interface DataFolder {
  readonly path: string;
  readonly logPath: string;
  readonly statePath: string;
  /** Read when the folder was opened. */
  readonly identity: Identity | undefined;
  close(): Promise<void>;
}

/** Marks a folder that is being made from a backup. */
export const RESTORING_FILE = 'restoring';

/** What this process says it is; a folder that says otherwise is not its own. */
export interface ExpectedMember {
  readonly peerAddress: string;
  readonly clientAddress: string;
}

/**
 * Locks the folder, making it if needed, and reads who it belongs to.
 * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `STORAGE_FAILED`.
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const lock = await takeLock(path);
  try {
    const identity = await readIdentity(path);
    const folder: DataFolder = {
      path,
      logPath: join(path, 'log'),
      statePath: join(path, 'state'),
      identity,
      close: () => lock.close(),
    };
    if (identity === undefined) await refuseOrphans(folder);
    return folder;
  } catch (error) {
    await lock.close();
    throw error;
  }
}

/**
 * Refuses a folder of a member that was removed, or of another than the one that this process was started as.
 * @throws TidemarkError `MEMBER_REMOVED`, `DATA_OF_OTHER_CLUSTER`.
 */
export function checkOwner(path: string, identity: Identity, expected: ExpectedMember): void {
  if (identity.removed && !mutated('coordinator.removedMemberStarts')) throw memberRemoved(identity);
  const own = ownMember(identity);
  if (own.peerAddress === expected.peerAddress && own.clientAddress === expected.clientAddress) return;
  const told = `peers at ${own.peerAddress} and clients at ${own.clientAddress}`;
  throw new TidemarkError(
    'DATA_OF_OTHER_CLUSTER',
    `${path} belongs to member ${own.id} of cluster ${identity.clusterId}, which serves ${told}; ` +
      `this process would serve peers at ${expected.peerAddress} and clients at ${expected.clientAddress}`,
    { next: "Start it with that member's addresses, or give this process a folder of its own." },
  );
}

/** @throws TidemarkError `DATA_IN_USE`, `STORAGE_FAILED`. */
export async function takeLock(path: string): Promise<Level> {
  try {
    await mkdir(path, { recursive: true });
    // Opened in the turn that makes it: `level` opens by itself after that, and would be asked a second time.
    const lock = new Level(join(path, 'lock'));
    await lock.open();
    return lock;
  } catch (error) {
    if (hasCode(error, 'LEVEL_LOCKED')) {
      throw new TidemarkError('DATA_IN_USE', `another process uses the data folder ${path}`, {
        next: 'Stop that process, or give this one a folder of its own.',
        cause: error,
      });
    }
    throw new TidemarkError('STORAGE_FAILED', `cannot open the data folder ${path}: ${String(error)}`, {
      next:
        'Check that the path is a folder that this account may write. If it is, delete the folder lock in ' +
        'it: it holds nothing else.',
      cause: error,
    });
  }
}

/** A log without an identity is a member that lost its name: as a fresh node it could vote twice. */
async function refuseOrphans(folder: DataFolder): Promise<void> {
  if (await exists(join(folder.path, RESTORING_FILE))) {
    throw new TidemarkError('DATA_CORRUPT', `a restore into ${folder.path} did not come to its end`, {
      next: 'Give the command again that was to fill this folder.',
    });
  }
  for (const path of [folder.logPath, folder.statePath]) {
    if (!(await exists(path))) continue;
    throw new TidemarkError(
      'DATA_CORRUPT',
      `${path} is there, but ${join(folder.path, IDENTITY_FILE)} is missing`,
      {
        next: 'Restore the identity file of this member, or start it as a new member on an empty folder.',
      },
    );
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw new TidemarkError('STORAGE_FAILED', `cannot look at ${path}: ${String(error)}`, { cause: error });
  }
}

/** LevelDB's own code is on the error or, when opening failed, on its cause. */
function hasCode(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && error.code === code) || hasCode(error.cause, code);
}
