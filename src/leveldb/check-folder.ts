/**
 * Checks the files of a LevelDB database before it is opened. LevelDB never checks its own tables as
 * classic-level opens it: damaged ones give wrong values, or end the process from within (design, section 3).
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TidemarkError, isTidemarkError } from '../base/index.ts';
import { readRecords } from './record-file.ts';
import { checkTable } from './table-file.ts';
import { filesInUse } from './version-edits.ts';

/**
 * Reads every file that the next open would read, and compares all of it with its checksums. A folder without
 * a database passes. Files are left as they are.
 * @throws TidemarkError `DATA_CORRUPT` naming the file.
 */
export async function checkLevelFolder(folder: string): Promise<void> {
  const current = await contentOf(folder, 'CURRENT');
  if (current === undefined) {
    const names = await namesIn(folder);
    if (names.some((name) => /^MANIFEST-|\.(ldb|sst)$/.test(name))) throw damaged('CURRENT', 'it is missing');
    return;
  }
  const name = current.toString().trimEnd();
  const manifest = /^MANIFEST-\d+$/.test(name) ? await contentOf(folder, name) : undefined;
  if (manifest === undefined) throw damaged('CURRENT', 'it names no manifest');
  const { tables, logNumber } = within(name, () => filesInUse(readRecords(manifest)));
  for (const [number, size] of tables) await checkTableFile(folder, number, size);
  for (const file of await namesIn(folder)) {
    const number = Number(/^(\d+)\.log$/.exec(file)?.[1] ?? -1);
    const log = number >= logNumber ? await contentOf(folder, file) : undefined;
    if (log !== undefined) within(file, () => readRecords(log));
  }
}

async function checkTableFile(folder: string, number: number, size: number): Promise<void> {
  const stem = String(number).padStart(6, '0');
  const name = `${stem}.ldb`;
  const table = (await contentOf(folder, name)) ?? (await contentOf(folder, `${stem}.sst`));
  if (table === undefined) throw damaged(name, 'it is missing');
  if (table.length !== size) throw damaged(name, `it has ${table.length} bytes, not ${size}`);
  within(name, () => {
    checkTable(table);
  });
}

function contentOf(folder: string, name: string): Promise<Buffer | undefined> {
  return ifThere(name, () => readFile(join(folder, name)));
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return (await ifThere('the folder', () => readdir(folder))) ?? [];
}

/** What is missing is undefined; what is there but cannot be read is an error. */
async function ifThere<T>(what: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new TidemarkError('STORAGE_FAILED', `${what} cannot be read: ${String(cause)}`, { cause });
  }
}

function within<T>(name: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    throw damaged(name, error.message, error);
  }
}

function damaged(name: string, text: string, cause?: unknown): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `the file ${name} is damaged: ${text}`, { cause });
}
