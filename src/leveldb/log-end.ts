/**
 * Write-ahead logs whose end was not synced. A loss of power may leave any part of it: cut off, or with holes
 * where blocks were not written yet, before others that were; and of two files the newer one may be there.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isTidemarkError, mutated, TidemarkError } from '../base/index.ts';
import type { FolderFiles } from './check-folder.ts';
import { recordsOf } from './record-file.ts';

/** Before the writes of a batch: the number of the first (8 bytes) and how many there are (4). */
const BATCH_HEAD_BYTES = 12;

export interface LogsUpToBreak {
  /** Batches that follow each other without a gap. */
  readonly batches: readonly Buffer[];
  /** Where and why the logs were cut; undefined if they were not. */
  readonly cut: string | undefined;
}

/**
 * Reads the write-ahead logs, oldest first, up to the first batch that is damaged or missing, and cuts them
 * there: LevelDB itself would go on behind it. The first batch must be in the log that the manifest names: a
 * newer one is no beginning, although the older one may have lost all that it held. Only for a database whose
 * lost writes come again, whose contents are checked as a whole, and whose folder no other process can have.
 * @throws TidemarkError `STORAGE_FAILED`.
 */
export function readLogsUpToBreak(
  folder: string,
  { logs, logNumber }: Pick<FolderFiles, 'logs' | 'logNumber'>,
): LogsUpToBreak {
  const batches: Buffer[] = [];
  let next: number | undefined;
  for (const [at, name] of logs.entries()) {
    const begins = Number.parseInt(name, 10) === logNumber || mutated('state.missingLogUnnoticed');
    let end = 0;
    try {
      for (const { data, end: recordEnd } of recordsOf(contentOf(folder, name))) {
        if (next === undefined && !begins) throw new TidemarkError('DATA_CORRUPT', 'no writes lead up to it');
        next = followedBy(data, next);
        batches.push(data);
        end = recordEnd;
      }
    } catch (error) {
      if (!isTidemarkError(error, 'DATA_CORRUPT') || mutated('state.brokenLogRefused')) throw error;
      cut(folder, logs.slice(at), end);
      return { batches, cut: `${name} from byte ${end} on: ${error.message}` };
    }
  }
  return { batches, cut: undefined };
}

/** Returns the number of the write after a batch, which must begin with the number `expected`. */
function followedBy(batch: Buffer, expected: number | undefined): number {
  if (batch.length < BATCH_HEAD_BYTES) throw new TidemarkError('DATA_CORRUPT', 'a batch is cut off');
  const first = Number(batch.readBigUInt64LE(0));
  if (expected !== undefined && first !== expected && !mutated('state.missingWritesUnnoticed')) {
    throw new TidemarkError('DATA_CORRUPT', `the writes from ${expected} to ${first - 1} are missing`);
  }
  return first + batch.readUInt32LE(8);
}

/** The newest file first, each synced before the next: cut short itself, this finds the same break again. */
function cut(folder: string, [broken, ...newer]: readonly string[], end: number): void {
  if (broken === undefined || mutated('state.brokenLogNotCut')) return;
  try {
    for (const name of newer.reverse()) truncateOnDisk(join(folder, name), 0);
    truncateOnDisk(join(folder, broken), end);
  } catch (cause) {
    throw new TidemarkError('STORAGE_FAILED', `${broken} cannot be cut: ${String(cause)}`, { cause });
  }
}

function truncateOnDisk(path: string, bytes: number): void {
  const handle = openSync(path, 'r+');
  try {
    ftruncateSync(handle, bytes);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function contentOf(folder: string, name: string): Buffer {
  try {
    return readFileSync(join(folder, name));
  } catch (cause) {
    throw new TidemarkError('STORAGE_FAILED', `${name} cannot be read: ${String(cause)}`, { cause });
  }
}
