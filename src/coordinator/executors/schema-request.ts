/** Reads a collector's request for a schema version, and finds the reports that it stops. */
import { TidemarkError } from '../../base/index.ts';
import { capturedTexts, type CompiledReport, type CompiledSource } from '../../job/index.ts';
import {
  idKey,
  type AddSchema,
  type ReportRecord,
  type SourceRecord,
  type StateView,
} from '../../statemachine/index.ts';
import type { SchemaRequest } from '../../wire/index.ts';
import { safeNumber } from '../safe-number.ts';

/**
 * A report stops when its SQL may read a column that is not the same any more (design 6.3); one that is
 * declared meanwhile is refused its rows by the schema version itself.
 * @throws TidemarkError `BAD_REQUEST` when a number cannot be one.
 */
export function readSchema(request: SchemaRequest, view: StateView): AddSchema {
  const sourceId = safeNumber(request.sourceId, 'source id');
  const { table, version, sourceJson, replacedJson, broken } = request;
  const source = readSource(sourceJson);
  if (table === '') throw new TidemarkError('BAD_REQUEST', 'a schema version without a table');
  const window = (view.sources.get(idKey(sourceId))?.lastWindow ?? 0) + 1;
  const stops: AddSchema['stops'][number][] = [];
  for (const report of view.reports.values()) {
    if (report.sourceId !== sourceId) continue;
    const column = brokenFor(report, table, broken);
    if (column === undefined) continue;
    const problem =
      `REPORT_COLUMN_CHANGED: report ${report.name} stops before window ${window}: ` +
      `column ${table}.${column.column}: ${column.why}`;
    stops.push({ reportId: report.id, problem });
  }
  return {
    type: 'schema.add',
    v: 1,
    sourceId,
    epoch: request.epoch.toString(),
    table,
    version,
    spec: sourceJson,
    replaced: replacedJson,
    captured: capturedTexts(source),
    addition: additionOf(view.sources.get(idKey(sourceId))?.addition, source),
    stops,
  };
}

/** Tables that are added stay behind those that are captured, whatever becomes of these. */
function additionOf(
  addition: SourceRecord['addition'] | undefined,
  source: CompiledSource,
): AddSchema['addition'] {
  if (addition === null || addition === undefined) return { former: '', spec: '', captured: [] };
  const former = JSON.parse(addition.spec) as CompiledSource;
  const tables = [...source.tables, ...former.tables.slice(source.tables.length)];
  const later = { ...former, tables };
  return { former: addition.spec, spec: JSON.stringify(later), captured: capturedTexts(later) };
}

function readSource(sourceJson: string): CompiledSource {
  try {
    return JSON.parse(sourceJson) as CompiledSource;
  } catch (cause) {
    throw new TidemarkError('BAD_REQUEST', 'a schema version of a source that is not JSON', { cause });
  }
}

function brokenFor(
  report: ReportRecord,
  table: string,
  broken: SchemaRequest['broken'],
): SchemaRequest['broken'][number] | undefined {
  const { inputs } = JSON.parse(report.spec) as CompiledReport;
  return broken.find(({ column }) =>
    inputs.some(
      (input) =>
        input.kind !== 'dimension' && input.table === table && (input.uses?.includes(column) ?? true),
    ),
  );
}
