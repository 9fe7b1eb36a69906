/** What is declared already, as far as a job that is applied may leave it as it is. */
import { mutated } from '../../base/index.ts';
import {
  idKey,
  isRetired,
  newestNamed,
  type SourceRecord,
  type StateView,
} from '../../statemachine/index.ts';
import { reportDefinition, type Definition } from '../../wire/index.ts';

/** Sources by id and reports by the ids of their documents, which an executor must have first. */
export interface KnownJob {
  readonly definitions: readonly Definition[];
  readonly sources: readonly bigint[];
  readonly reports: readonly string[];
}

/** Sources whose windows are sealed: what is captured of them the log decides. */
export function sealedSources(view: StateView): SourceRecord[] {
  return [...view.sources.values()].filter(({ lastWindow }) => lastWindow > 0);
}

/**
 * Lists the sealed sources and the newest generations of their reports. One that is not prepared has no
 * dimension copies (yet, or any more): it is looked at again, since these will be of now.
 */
export function knownJob(view: StateView): KnownJob {
  const sources = sealedSources(view);
  const reports = [...view.reports.values()].filter((report) => {
    if (isRetired(report) || newestNamed(view, report.name)?.id !== report.id) return false;
    if (report.prepared === '' && !mutated('coordinator.unpreparedReportKept')) return false;
    return (view.sources.get(idKey(report.sourceId))?.lastWindow ?? 0) > 0;
  });
  const documents = reports.map(({ id, generation, spec }) => ({
    id: reportDefinition(id, generation),
    json: spec,
  }));
  return {
    definitions: [...sources.map(({ id, spec }) => ({ id: `source/${id}`, json: spec })), ...documents],
    sources: sources.map(({ id }) => BigInt(id)),
    reports: documents.map(({ id }) => id),
  };
}
