/** Says of a report how it is computed and why, for whoever applies its job. */
import type { CompiledReport } from '../../job/index.ts';

/** Describes a compiled report in one line. */
export function reportDetail(report: CompiledReport): string {
  const where = whereOf(report);
  if (report.affectedKeys !== undefined) {
    const by = report.affectedKeys.touched.map(({ alias }) => alias).join(', ');
    return `affectedKeys (its SQL is run again for the keys that changed rows of ${by} touch); ${where}`;
  }
  const changing = report.inputs.filter(({ kind }) => kind === 'changes').map(({ alias }) => alias);
  const [only, ...more] = changing;
  const from =
    more.length === 0 ? `one change row of ${only ?? ''}` : `one row of each of ${changing.join(', ')}`;
  return `contribution (a result row comes from ${from}); ${where}`;
}

function whereOf({ parts, gathered }: CompiledReport): string {
  if (gathered === true) {
    return 'one part, for which the rows of all store shards are gathered: a group may hold some of several';
  }
  return parts === 1 ? 'one part' : `${parts} parts, one a store shard`;
}
