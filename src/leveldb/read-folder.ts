/**
 * Reads a closed database from its files, checking each of them on the way. It takes a third of the time of
 * LevelDB's own iterator, which makes an object for each row, after a check that has read all files already.
 */
import { FileMemory, filesOfFolder, readTable } from './check-folder.ts';
import { readLogsUpToBreak } from './log-end.ts';
import { compareShort, copyShort } from './short-bytes.ts';
import { LogRun, TableRun, type RowInFile, type Run } from './runs.ts';
import type { TableInUse } from './version-edits.ts';

/** What was found in a folder beside its rows. */
export interface FolderRead {
  /** Where and why the end of its write-ahead logs was cut off. */
  readonly cut: string | undefined;
}

/**
 * Calls `visit` with every live row in key order; it is good for the time of the call. Undefined if there is
 * no database. Nothing else may write in the folder meanwhile. Write-ahead logs are read, and cut, up to the
 * first write that is damaged or missing: what the rows come to is for the caller to check.
 * @throws TidemarkError `DATA_CORRUPT` naming the file, `STORAGE_FAILED`: rows that were visited are to be
 * forgotten.
 */
export function readLevelFolder(folder: string, visit: (row: RowInFile) => void): FolderRead | undefined {
  const files = filesOfFolder(folder);
  if (files === undefined) return undefined;
  const { batches, cut } = readLogsUpToBreak(folder, files);
  const runs: Run[] = [new LogRun(batches)];
  for (const tables of sortedRuns(files.tables)) {
    const memory = new FileMemory();
    runs.push(new TableRun(tables.map((table) => () => readTable(folder, table, memory))));
  }
  merge(
    runs.filter((run) => run.next()),
    visit,
  );
  return { cut };
}

/** Each table of level 0 is a run of its own; those of any other level follow each other. */
function sortedRuns(tables: readonly TableInUse[]): TableInUse[][] {
  const runs: TableInUse[][] = [];
  const levels = new Map<number, TableInUse[]>();
  for (const table of [...tables].sort((left, right) => left.smallest.compare(right.smallest))) {
    const level = table.level === 0 ? undefined : levels.get(table.level);
    if (level !== undefined) {
      level.push(table);
      continue;
    }
    const run = [table];
    runs.push(run);
    if (table.level > 0) levels.set(table.level, run);
  }
  return runs;
}

function merge(runs: Run[], visit: (row: RowInFile) => void): void {
  let last: Buffer = Buffer.alloc(256);
  let lastBytes = -1;
  while (runs.length > 0) {
    const { first, second } = firstTwo(runs);
    do {
      const { key, keyBytes } = first;
      if (keyBytes !== lastBytes || compareShort(key, keyBytes, last, lastBytes) !== 0) {
        if (!first.deleted) visit(first);
        if (keyBytes > last.length) last = Buffer.alloc(2 * keyBytes);
        copyShort(key, { from: 0, to: keyBytes }, last, 0);
        lastBytes = keyBytes;
      }
      if (!first.next()) {
        runs.splice(runs.indexOf(first), 1);
        break;
      }
      // Mostly one run goes on for long: then each row costs one comparison.
    } while (second === undefined || compareRuns(first, second) < 0);
  }
}

function firstTwo(runs: readonly Run[]): { readonly first: Run; readonly second: Run | undefined } {
  const [head, ...rest] = runs as [Run, ...Run[]];
  let first = head;
  let second: Run | undefined;
  for (const run of rest) {
    if (compareRuns(run, first) < 0) {
      second = first;
      first = run;
    } else if (second === undefined || compareRuns(run, second) < 0) {
      second = run;
    }
  }
  return { first, second };
}

/** By key, and the newest version of a key first. */
function compareRuns(left: Run, right: Run): number {
  const byKey = compareShort(left.key, left.keyBytes, right.key, right.keyBytes);
  return byKey === 0 ? right.sequence - left.sequence : byKey;
}
