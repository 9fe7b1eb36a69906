/** The way back for a report that cannot go on from what it is: its next generation, from the beginning. */
import { must, mutated } from '../../base/index.ts';
import { nextGeneration } from './counters.ts';
import { idKey, spanKey, spanPrefix, taskRowKey } from './keys.ts';
import type { ReportRecord } from './records.ts';
import type { StateWriter } from './writer.ts';

/**
 * Begins a report anew as its next generation: from the row states as of the last sealed window, or from the
 * first window where all of them are kept. Whoever calls it sees to it that tables are made.
 */
export function rebuild(writer: StateWriter, report: ReportRecord): void {
  const source = must(writer.sources.get(idKey(report.sourceId)), 'source of a report');
  for (const span of [...writer.spans.withPrefix(spanPrefix(report.id))]) {
    for (let part = 0; part < span.parts; part++) writer.tasks.delete(taskRowKey({ ...span, part }));
    writer.spans.delete(spanKey(span));
  }
  const baseWindow = source.states === null ? 0 : source.lastWindow;
  const dropped = `HISTORY_DROPPED: windows up to ${source.horizon} of source ${source.name} are dropped`;
  const lost = baseWindow === 0 && source.horizon > 0 ? dropped : undefined;
  // What it was stopped for is not over: its base would be computed from the same columns.
  const problem = mutated('sink.stoppedGoesOn') ? lost : (report.stopped?.problem ?? lost);
  writer.reports.put(idKey(report.id), {
    ...report,
    generation: nextGeneration(writer, report.generation),
    baseWindow,
    nextWindow: 1,
    mergedWindow: 0,
    finalWindow: 0,
    droppedWindow: 0,
    folded: { window: 0, seal: '' },
    fold: null,
    foldRetryAtMs: 0,
    holes: 0,
    phase: report.phase === 'live' ? 'live' : 'new',
    change: null,
    stopped: problem === undefined ? null : { window: 1, problem },
  });
}
