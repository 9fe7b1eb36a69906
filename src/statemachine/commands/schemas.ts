/** Schema versions of captured tables (design 6.3): decided by the log before a row is written under them. */
import { mutated } from '../../base/index.ts';
import { idKey, windowPrefix } from './keys.ts';
import type { AddSchema, OperationResult } from './operations.ts';
import type { SourceRecord } from './records.ts';
import { accept, refuse } from './result.ts';
import type { StateWriter } from './writer.ts';

/**
 * Accepted only under the source's current epoch, with the next version of the table: so whoever collects the
 * windows behind it, and whoever reads them, goes by one definition.
 */
export function applyAddSchema(writer: StateWriter, input: AddSchema): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  if (source.collector?.epoch !== input.epoch && !mutated('state.schemaOfDeposedEpoch')) {
    return refuse('STALE_EPOCH', `epoch ${input.epoch} is not the current one of source ${source.name}`);
  }
  if (source.spec === input.spec) return accept({ version: input.version });
  // Tables were added, or taken out again, since whoever proposes it has looked.
  if ((source.addition?.spec ?? '') !== input.addition.former && !mutated('state.schemaUndoesAddition')) {
    return refuse('STALE_VERSION', `tables of source ${source.name} were added or taken out meanwhile`);
  }
  const current = lastVersion(source, input.table) + 1;
  if (input.version < 2 || (current > 1 && input.version !== current + 1)) {
    return refuse('STALE_VERSION', `version ${input.version} of ${input.table} does not follow ${current}`);
  }
  const window = source.lastWindow + 1;
  const { spec, captured } = input.addition;
  const added = mutated('state.schemaUndoesAddition') ? {} : { spec, captured };
  const entry = { table: input.table, version: input.version - 1, lastWindow: source.lastWindow };
  writer.sources.put(idKey(source.id), {
    ...source,
    spec: input.spec,
    captured: input.captured,
    addition: source.addition === null ? null : { ...source.addition, ...added },
    schemas: [...readStill(writer, source), { ...entry, spec: input.replaced }],
  });
  for (const { reportId, problem } of input.stops) {
    const report = writer.reports.get(idKey(reportId));
    if (report?.sourceId !== source.id || report.stopped !== null) continue;
    writer.reports.put(idKey(reportId), { ...report, stopped: { window, problem } });
  }
  return accept({ version: input.version });
}

/** The newest version of a table that was replaced; 0 if none is kept. */
function lastVersion(source: SourceRecord, table: string): number {
  return Math.max(0, ...source.schemas.filter((one) => one.table === table).map(({ version }) => version));
}

/** Versions that no window names any more go; the newest of each table stays, since it counts the others. */
function readStill(writer: StateWriter, source: SourceRecord): SourceRecord['schemas'] {
  const oldest = writer.windows.withPrefix(windowPrefix(source.id)).next();
  const first = oldest.done === true ? source.lastWindow + 1 : oldest.value.window;
  return source.schemas.filter(
    ({ table, version, lastWindow }) => lastWindow >= first || version === lastVersion(source, table),
  );
}
