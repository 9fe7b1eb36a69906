/** Dimension copies as executors and the log tell one another of them. */
import { parseToken, TidemarkError } from '../../base/index.ts';
import { isRetired, type ReportCopies, type SourceRecord, type StateView } from '../../statemachine/index.ts';
import {
  readReportDefinition,
  reportDefinition,
  type Prepare,
  type PrepareOutcome,
} from '../../wire/index.ts';
import { safeNumber } from '../safe-number.ts';

/**
 * What a prepare must know of all copies of a source: those that are read, and the grants under which others
 * may be in the making. What is older than the prepare and neither is dropped by it.
 */
export function copiesOf(view: StateView, source: SourceRecord): Pick<Prepare, 'copies' | 'pending'> {
  const reports = [...view.reports.values()].filter(
    (report) => report.sourceId === source.id && !isRetired(report),
  );
  const grants = reports.flatMap(({ change }) => (change === null ? [] : [change.token]));
  if (source.prepare?.done === false) grants.push(source.prepare.token);
  const copies = reports
    .filter(({ prepared }) => prepared !== '')
    .map((report) => ({
      report: reportDefinition(report.id, report.generation),
      prepared: parseToken(report.prepared),
      dimensions: report.copies.map((copy) => ({ ...copy, rows: BigInt(copy.rows) })),
      lost: false,
    }));
  return { copies, pending: grants.map(parseToken) };
}

/**
 * What an executor says of the copies of the reports that it prepared.
 * @throws TidemarkError `BAD_REQUEST`.
 */
export function readCopies(outcome: PrepareOutcome): ReportCopies[] {
  return outcome.copies.map(({ report, dimensions, lost }) => {
    const named = readReportDefinition(report);
    if (named === undefined)
      throw new TidemarkError('BAD_REQUEST', `not a report's definition id: ${report}`);
    return {
      ...named,
      copies: dimensions.map(({ table, rows, checksum }) => ({
        table,
        rows: safeNumber(rows, 'rows of a dimension'),
        checksum,
      })),
      lost,
    };
  });
}
