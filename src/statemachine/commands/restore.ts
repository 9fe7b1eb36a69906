/**
 * The first entry of a cluster that was made from a backup, or from the one member that was left (design
 * section 5). What the old cluster handed out after that point is not known here: every counter skips what
 * it can have used, and nothing that was granted for a database is adopted. Sessions keep their answers: a
 * retry of what the backup holds is still answered once.
 */
import { mutated } from '../../base/index.ts';
import { nextToken } from './counters.ts';
import { idKey } from './keys.ts';
import type { ApplyMeta, OperationResult, RestoreCluster } from './operations.ts';
import type { ClusterRecord } from './records.ts';
import { accept } from './result.ts';
import { newSink } from './sinks.ts';
import { restoredStates } from './states.ts';
import type { StateWriter } from './writer.ts';

/** Sessions, executors and writes come by the thousand a second: this is a month and a half of them. */
const MANY = 2 ** 32;
/** What is declared by hand; and grants, whose tokens differ by their term anyway. */
const FEW = 2 ** 20;

export function applyRestoreCluster(
  writer: StateWriter,
  input: RestoreCluster,
  meta: ApplyMeta,
): OperationResult {
  const formerIds = [...(writer.cluster.formerIds ?? []), input.formerId];
  const cluster = { ...writer.cluster, formerIds };
  writer.setCluster(mutated('state.restoreKeepsCounters') ? cluster : skipUsed(cluster));
  const below = nextToken(writer, meta);
  for (const sink of [...writer.sinks.values()]) writer.sinks.put(idKey(sink.id), newSink(sink));
  for (const source of [...writer.sources.values()]) {
    // Change rows under the old epoch may go beyond the last window that is known here.
    const collector = mutated('state.restoreKeepsCollectors') ? source.collector : null;
    const states = restoredStates(source, below);
    const addition = source.addition === null ? null : { ...source.addition, prepare: null };
    const former = { ...states, prepare: null, addition, collector, drop: null };
    writer.sources.put(idKey(source.id), { ...source, ...former });
  }
  for (const report of [...writer.reports.values()]) {
    writer.reports.put(idKey(report.id), { ...report, fold: null, change: null });
  }
  return accept();
}

function skipUsed(cluster: ClusterRecord): ClusterRecord {
  const { session, executor, source, sink, report } = cluster.ids;
  return {
    ...cluster,
    grants: cluster.grants + FEW,
    revision: (cluster.revision ?? 0) + MANY,
    ids: {
      session: session + MANY,
      executor: executor + MANY,
      source: source + FEW,
      sink: sink + FEW,
      report: report + FEW,
    },
  };
}
