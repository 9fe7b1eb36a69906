/** What a declaration would do, found by doing it to a copy of what it reads. */
import { mutated } from '../../base/index.ts';
import { applyOperation, idKey, MemoryState } from '../../statemachine/index.ts';
import type { DeclareJob, OperationResult, StateView } from '../../statemachine/index.ts';

/**
 * Answers what the log would answer to `operation` now. Windows, spans and tasks are left out of the copy: a
 * declaration moves and drops them, but neither its items nor its refusal depend on them.
 */
export function preview(view: StateView, operation: DeclareJob): OperationResult {
  const copy = new MemoryState();
  copy.setCluster(view.cluster);
  if (view.topology !== undefined) copy.setTopology(view.topology);
  for (const sink of view.sinks.values()) copy.sinks.put(idKey(sink.id), sink);
  const sources = mutated('coordinator.previewOfNothing') ? [] : view.sources.values();
  for (const source of sources) copy.sources.put(idKey(source.id), source);
  for (const report of view.reports.values()) copy.reports.put(idKey(report.id), report);
  const { logTimeMs } = view.cluster;
  return applyOperation(copy, operation, { index: view.appliedIndex, term: view.appliedTerm, logTimeMs });
}
