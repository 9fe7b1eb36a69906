/** Writes a snapshot file: complete and checked under its name, or not there. */
import { randomBytes } from 'node:crypto';
import { link, open, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { TidemarkError, failpoint, isTidemarkError } from '../base/index.ts';
import { SnapshotParser } from './snapshot-parser.ts';
import type { SnapshotHeader } from './snapshot-format.ts';

export interface WrittenSnapshot {
  readonly header: SnapshotHeader;
  readonly bytes: number;
}

/**
 * Writes `pieces` to a file beside `path`, checks them on the way, and gives the file its name when it is
 * complete and on disk. An existing file stays.
 *
 * @throws TidemarkError `FILE_EXISTS`, `STORAGE_FAILED` (the disk is full, say), `SNAPSHOT_INVALID`, and what
 * `pieces` throws: nothing is left behind then.
 */
export async function writeSnapshotFile(
  path: string,
  pieces: AsyncIterable<Uint8Array>,
): Promise<WrittenSnapshot> {
  await refuseExisting(path);
  const unfinished = `${path}.${randomBytes(4).toString('hex')}.part`;
  const file = await onDisk(path, open(unfinished, 'wx', 0o600));
  try {
    let written: WrittenSnapshot;
    try {
      written = await copy(path, file, pieces);
      await onDisk(path, file.sync());
    } finally {
      await file.close();
    }
    await name(unfinished, path);
    return written;
  } finally {
    await rm(unfinished, { force: true });
  }
}

/** By a link, which unlike a rename fails when another has made a file of that name meanwhile. */
async function name(unfinished: string, path: string): Promise<void> {
  await link(unfinished, path).catch((error: unknown) => {
    throw hasCode(error, 'EEXIST') ? alreadyThere(path) : notWritten(path, error);
  });
  try {
    await onDisk(path, failpoint('backup.beforeFolderSync'));
    await onDisk(path, syncFolder(dirname(path)));
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

async function copy(
  path: string,
  file: FileHandle,
  pieces: AsyncIterable<Uint8Array>,
): Promise<WrittenSnapshot> {
  const parser = new SnapshotParser('what was received');
  let bytes = 0;
  for await (const piece of pieces) {
    parser.push(piece);
    await onDisk(path, failpoint('backup.beforeWrite'));
    await onDisk(path, file.appendFile(piece));
    bytes += piece.length;
  }
  return { header: parser.finish().header, bytes };
}

async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).then(
    () => true,
    () => false,
  );
  if (found) throw alreadyThere(path);
}

function alreadyThere(path: string): TidemarkError {
  return new TidemarkError('FILE_EXISTS', `${path} is there already`, {
    next: 'Name a file that does not exist: a backup is never overwritten.',
  });
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function onDisk<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw notWritten(path, error);
  }
}

function notWritten(path: string, error: unknown): TidemarkError {
  if (isTidemarkError(error)) return error;
  return new TidemarkError('STORAGE_FAILED', `${path} cannot be written: ${String(error)}`, {
    next:
      'Look at the free space and the rights of its folder, whose file system must have hard links. ' +
      'Nothing was left there.',
    cause: error,
  });
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
