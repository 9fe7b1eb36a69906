/**
 * Checks the files of a LevelDB database before it is opened. LevelDB never checks its own tables as
 * classic-level opens it: damaged ones give wrong values, or end the process from within (design, section 3).
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { TidemarkError } from '../base/index.ts';
import { damaged, within } from './damaged-file.ts';
import { readRecords } from './record-file.ts';
import { checkTable, type Block } from './table-file.ts';
import { filesInUse, type TableInUse } from './version-edits.ts';

/** What the next open would read. */
export interface FolderFiles {
  readonly tables: readonly TableInUse[];
  /** Names of the write-ahead logs, oldest first. */
  readonly logs: readonly string[];
  /** The number of the first one: what came before is in tables. */
  readonly logNumber: number;
}

/**
 * Reads every file that the next open would read, and compares all of it with its checksums. A folder without
 * a database passes. Files are left as they are. Holds the thread for about 3 ms for each MB.
 * @throws TidemarkError `DATA_CORRUPT` naming the file, `STORAGE_FAILED`.
 */
export function checkLevelFolder(folder: string): void {
  const files = filesOfFolder(folder);
  const memory = new FileMemory();
  for (const table of files?.tables ?? []) readTable(folder, table, memory);
  for (const log of files?.logs ?? []) checkLog(folder, log);
}

/** @throws TidemarkError as {@link checkLevelFolder}; undefined if the folder holds no database. */
export function filesOfFolder(folder: string): FolderFiles | undefined {
  const names = namesIn(folder);
  const current = contentOf(folder, 'CURRENT');
  if (current === undefined) {
    // A manifest alone is what a crash leaves that came while the database was made.
    if (names.some((name) => /\.(ldb|sst|log)$/.test(name))) throw damaged('CURRENT', 'it is missing');
    return undefined;
  }
  const name = current.toString().trimEnd();
  const manifest = /^MANIFEST-\d+$/.test(name) ? contentOf(folder, name) : undefined;
  if (manifest === undefined) throw damaged('CURRENT', 'it names no manifest');
  const { tables, logNumber } = within(name, () => filesInUse(readRecords(manifest)));
  const numberOf = (file: string): number => Number(/^(\d+)\.log$/.exec(file)?.[1] ?? -1);
  const logs = names.filter((file) => numberOf(file) >= Math.max(0, logNumber));
  logs.sort((left, right) => numberOf(left) - numberOf(right));
  return { tables: [...tables.values()], logs, logNumber };
}

/** Reads a table into `memory` and checks all of it; `blocks` hold its rows, in order. */
export function readTable(
  folder: string,
  { number, bytes }: TableInUse,
  memory: FileMemory,
): { readonly file: Buffer; readonly blocks: readonly Block[] } {
  const stem = String(number).padStart(6, '0');
  const name = `${stem}.ldb`;
  const read = (path: string): Buffer | undefined => ifThere(path, () => memory.read(join(folder, path)));
  const file = read(name) ?? read(`${stem}.sst`);
  if (file === undefined) throw damaged(name, 'it is missing');
  if (file.length !== bytes) throw damaged(name, `it has ${file.length} bytes, not ${bytes}`);
  return { file, blocks: within(name, () => checkTable(file)) };
}

function checkLog(folder: string, name: string): void {
  const log = contentOf(folder, name);
  if (log !== undefined) within(name, () => readRecords(log));
}

/** Memory that one file after the other is read into: hundreds of them would be garbage for long. */
export class FileMemory {
  #bytes = Buffer.alloc(0);

  /** Reads a whole file. What was read before is gone. */
  read(path: string): Buffer {
    const handle = openSync(path, 'r');
    try {
      const { size } = fstatSync(handle);
      if (size > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(size);
      let at = 0;
      for (let count = -1; at < size && count !== 0; at += count) {
        count = readSync(handle, this.#bytes, at, size - at, at);
      }
      return this.#bytes.subarray(0, at);
    } finally {
      closeSync(handle);
    }
  }
}

function contentOf(folder: string, name: string): Buffer | undefined {
  return ifThere(name, () => readFileSync(join(folder, name)));
}

function namesIn(folder: string): readonly string[] {
  return ifThere('the folder', () => readdirSync(folder)) ?? [];
}

/** What is missing is undefined; what is there but cannot be read is an error. */
function ifThere<T>(what: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new TidemarkError('STORAGE_FAILED', `${what} cannot be read: ${String(cause)}`, { cause });
  }
}
