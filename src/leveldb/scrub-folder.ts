/**
 * Checks the files of a database that is in use, one at a time. LevelDB maps its tables into memory and
 * never compares their checksums: what has changed on the disk since the start would be served.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isTidemarkError, TidemarkError } from '../base/index.ts';
import { filesOfFolder } from './check-folder.ts';
import { damaged, within } from './damaged-file.ts';
import { checkRecords } from './record-file.ts';
import { checkTable } from './table-file.ts';
import type { TableInUse } from './version-edits.ts';

/** What is checked between two yields, about: some milliseconds. */
const STEP_BYTES = 1024 * 1024;

/**
 * Reads and checks every file in use; yields after each step, for the caller to rest.
 * @throws TidemarkError `DATA_CORRUPT` naming the file, `STORAGE_FAILED`.
 */
export async function* scrubLevelFolder(folder: string): AsyncGenerator<void, void, undefined> {
  const files = filesOfFolder(folder);
  for (const { number } of files?.tables ?? []) {
    await twice(() => checkTableInUse(folder, number));
    yield;
  }
  for (const log of files?.logs ?? []) {
    const file = await contentOf(folder, log);
    if (file === undefined) continue;
    const pieces = checkRecords(file);
    let checked = 0;
    for (
      let piece = within(log, () => pieces.next());
      piece.done !== true;
      piece = within(log, () => pieces.next())
    ) {
      if (piece.value < checked + STEP_BYTES) continue;
      checked = piece.value;
      yield;
    }
    yield;
  }
}

/** A file may have been replaced between looking it up and reading it: damage is what is found again. */
async function twice(check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    if (!isTidemarkError(error, 'DATA_CORRUPT')) throw error;
    await check();
  }
}

async function checkTableInUse(folder: string, number: number): Promise<void> {
  const table = filesOfFolder(folder)?.tables.find((one) => one.number === number);
  if (table === undefined) return;
  const name = nameOf(table);
  const file = await contentOf(folder, name);
  if (file?.length !== table.bytes) throw damaged(name, `it does not have ${table.bytes} bytes`);
  within(name, () => checkTable(file));
}

const nameOf = ({ number }: TableInUse): string => `${String(number).padStart(6, '0')}.ldb`;

async function contentOf(folder: string, name: string): Promise<Buffer | undefined> {
  try {
    return await readFile(join(folder, name));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new TidemarkError('STORAGE_FAILED', `${name} cannot be read: ${String(cause)}`, { cause });
  }
}
