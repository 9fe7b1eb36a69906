/**
 * What a job file says of a source whose windows are sealed: its rows lie where and as it was first declared
 * (design 6.3), so that it is taken as it stands in the log, and nobody asks its server again.
 */
import { DECLARE_AGAIN, mutated, TidemarkError } from '../base/index.ts';
import type { JobSource, JobTable } from './file/job-file.ts';
import type { CompiledSource } from './model.ts';
import { stableJson } from './report-hash.ts';

/**
 * Returns the source of the file with the tables of the captured one first: in their order, and sharded as
 * they are, whichever column a primary key begins with by now.
 * @throws TidemarkError `REPORT_ON_SEALED_SOURCE` if the file says that it is captured otherwise.
 */
export function keptSource(source: JobSource, captured: CompiledSource): JobSource {
  const change = changeOf(source, captured);
  if (change !== undefined) {
    const message = `source ${source.name} has sealed windows: ${change}`;
    throw new TidemarkError('REPORT_ON_SEALED_SOURCE', message, {
      next: `Write it as it was (its window may change, and tables may be added). ${DECLARE_AGAIN}`,
    });
  }
  const tables = captured.tables.map(({ table, shardKey }) => ({ table, shardKey }));
  return { ...source, tables: [...tables, ...addedTables(source, captured)] };
}

/** The tables of the file that the captured source has not. */
export function addedTables(source: JobSource, captured: CompiledSource): JobTable[] {
  return source.tables.filter(({ table }) => captured.tables.every((one) => one.table !== table));
}

/**
 * What of a source stays once windows are sealed, as texts that are equal for equal parts: all but its tables
 * and its window, and then each table.
 */
export function capturedTexts(source: CompiledSource): string[] {
  const place = stableJson({ ...source, tables: undefined, window: undefined });
  return [place, ...source.tables.map((table) => stableJson(table))];
}

function changeOf(source: JobSource, captured: CompiledSource): string | undefined {
  if (stableJson(source.database) !== stableJson(captured.database)) return 'its database cannot change';
  for (const { table } of captured.tables) {
    if (source.tables.every((one) => one.table !== table)) return `table ${table} cannot be left out`;
  }
  for (const { table, shardKey } of source.tables) {
    const known = captured.tables.find((one) => one.table === table);
    if (known === undefined) {
      if (captured.engine === 'mysql') continue;
      return `table ${table} cannot be added, as the source is an embedded database`;
    }
    const wanted = mutated('job.shardKeyOfToday') ? (shardKey ?? known.primaryKey[0]) : shardKey;
    if (wanted === undefined || wanted === known.shardKey) continue;
    const placed = (key: string | null): string => (key === null ? 'replicated' : `sharded by ${key}`);
    return `table ${table} is ${placed(known.shardKey)} and cannot be ${placed(wanted)}`;
  }
  return undefined;
}
