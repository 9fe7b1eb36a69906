/**
 * A data folder that is made from something else than `cluster init`: empty at first, and marked until it is
 * complete. The identity is written last, so that a folder that a crash left half-made never starts.
 */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TidemarkError, isTidemarkError } from '../../base/index.ts';
import { RESTORING_FILE, takeLock, type DataFolder } from '../members/data-folder.ts';
import { IDENTITY_FILE, isMissing, syncFolder, writeIdentity, type Identity } from '../members/identity.ts';

const LOCK = 'lock';
const PARTS = ['log', 'state'];

/**
 * Fills an empty folder and gives it an identity; what a crashed attempt left is taken away first.
 * @throws TidemarkError `FOLDER_NOT_EMPTY`, `DATA_IN_USE`, `STORAGE_FAILED`, and what `fill` throws: the
 * folder is empty then.
 */
export async function fillFolder(
  path: string,
  fill: (folder: Pick<DataFolder, 'path' | 'logPath' | 'statePath'>) => Promise<Identity>,
): Promise<void> {
  refuseFull(path, await contentsOf(path));
  const lock = await takeLock(path);
  const [logPath = '', statePath = ''] = PARTS.map((name) => join(path, name));
  try {
    // Until here what is there may be somebody's; from the mark on it is ours.
    refuseFull(path, await contentsOf(path));
    try {
      await onDisk(path, mark(path));
      await writeIdentity(path, await fill({ path, logPath, statePath }));
      await onDisk(path, rm(join(path, RESTORING_FILE)));
    } catch (error) {
      await onDisk(path, clear(path));
      throw error;
    }
  } finally {
    await lock.close();
  }
}

/** What is there besides the lock. */
async function contentsOf(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).filter((name) => name !== LOCK);
  } catch (error) {
    if (isMissing(error)) return [];
    throw failed(path, error);
  }
}

function refuseFull(path: string, found: readonly string[]): void {
  const halfMade = found.includes(RESTORING_FILE) && !found.includes(IDENTITY_FILE);
  if (found.length === 0 || halfMade) return;
  throw new TidemarkError('FOLDER_NOT_EMPTY', `${path} holds ${found.join(', ')}`, {
    next: 'Name a folder that is empty or does not exist.',
  });
}

async function mark(path: string): Promise<void> {
  await writeFile(join(path, RESTORING_FILE), '');
  await syncFolder(path);
  await removeParts(path);
}

/** The mark goes last: a folder that is not empty then is still half-made. */
async function clear(path: string): Promise<void> {
  await removeParts(path);
  await rm(join(path, RESTORING_FILE), { force: true });
}

async function removeParts(path: string): Promise<void> {
  for (const name of [IDENTITY_FILE, `${IDENTITY_FILE}.new`, ...PARTS]) {
    await rm(join(path, name), { recursive: true, force: true });
  }
}

async function onDisk(path: string, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw failed(path, error);
  }
}

function failed(path: string, error: unknown): unknown {
  if (isTidemarkError(error)) return error;
  return new TidemarkError('STORAGE_FAILED', `${path} cannot be filled: ${String(error)}`, { cause: error });
}
