/**
 * Sources whose change log cannot be read on (design 6.3, 6.5): the log behind the last sealed window is
 * gone, or is another one. Reports stay as they are until somebody asks for their tables to be read again;
 * the chain of windows then goes on with the difference between the tables and the row states. Where these
 * have holes since a restore that makes them right again, and the reports are built anew from them.
 */
import { DECLARE_AGAIN, mutated } from '../../base/index.ts';
import { idKey } from './keys.ts';
import type { AskResnapshot, OperationResult } from './operations.ts';
import type { SourceRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import { rebuildHere } from './sinks.ts';
import { haveHoles, statesWindow, withHoles } from './states.ts';
import { reportsOf } from './windows.ts';
import type { StateWriter } from './writer.ts';

/** Trying again could only give the same. */
const LOST = ['BINLOG_PURGED', 'BINLOG_DIVERGED'];
/** What the log holds next cannot be read, but somebody may change that at the source. */
const STUCK = ['SCHEMA_CHANGED', 'SOURCE_UNTELLABLE'];

/** What the end of a collector says of its source's position; before the first window there is none. */
export function lostPosition(
  source: SourceRecord,
  error: { readonly errorCode: string; readonly errorMessage: string },
): Pick<SourceRecord, 'lostPosition' | 'resnapshot'> {
  const { resnapshot } = source;
  if (source.lastWindow === 0 || !LOST.includes(error.errorCode)) return { lostPosition: null, resnapshot };
  // What a re-snapshot had read before it lost its place too is as old as the place.
  const { errorCode: code, errorMessage: message } = error;
  return { lostPosition: { code, message }, resnapshot: false };
}

export function positionRefusal(source: SourceRecord): Refusal | undefined {
  if (source.lostPosition === null || mutated('state.lostPositionGranted')) return undefined;
  return refuse('RESNAPSHOT_NEEDED', `source ${source.name}: ${source.lostPosition.code}`);
}

/** Whether the log tells next what cannot be captured: trying again helps only if the source changes. */
export function isStuck({ lastWindow, problem }: SourceRecord): boolean {
  return lastWindow > 0 && STUCK.some((code) => problem.startsWith(`${code}: `));
}

/** Whether a re-snapshot would be accepted. */
export function mayResnapshot(source: SourceRecord): boolean {
  return stateRefusal(source) === undefined && (!source.resnapshot || haveHoles(source));
}

export function applyAskResnapshot(writer: StateWriter, input: AskResnapshot): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  if (source.resnapshot && !haveHoles(source)) return accept({ window: source.lastWindow });
  const refusal = mutated('state.resnapshotAnyTime') ? undefined : stateRefusal(source);
  if (refusal !== undefined) return refusal;
  const holed = source.holed || haveHoles(source);
  writer.sources.put(idKey(source.id), {
    ...source,
    ...(holed ? withHoles(source) : {}),
    holed,
    collector: null,
    lostPosition: null,
    resnapshot: true,
    // A cursor that is empty: nothing is read again yet.
    cursor: mutated('state.resnapshotKeepsCursor') ? source.cursor : '',
    // Nothing that was captured is complete until all is read again.
    formerTables: mutated('state.resnapshotOfAddedTables') ? source.formerTables : 0,
    problem: '',
    retryAtMs: 0,
  });
  if (holed) buildAnew(writer, source.id);
  return accept({ window: source.lastWindow });
}

/** What the reports are made of is not the sum of the windows any more. */
function buildAnew(writer: StateWriter, sourceId: number): void {
  if (mutated('state.holedReportsGoOn')) return;
  for (const report of [...reportsOf(writer, sourceId)]) rebuildHere(writer, report);
}

function stateRefusal(source: SourceRecord): Refusal | undefined {
  const what = `source ${source.name}`;
  const isHoled = source.holed || haveHoles(source);
  if (source.lastWindow === 0 || (source.lostPosition === null && !isStuck(source) && !isHoled)) {
    return refuse('RESNAPSHOT_REFUSED', `${what} has not lost its place in the log`);
  }
  const states = statesWindow(source);
  if (states === undefined) {
    return refuse('RESNAPSHOT_REFUSED', `${what} keeps no row states to compare with. ${DECLARE_AGAIN}`);
  }
  // Of what was sealed before the restore nothing is needed any more.
  const reached = isHoled ? Math.max(states, source.formerChains.at(-1)?.lastWindow ?? 0) : states;
  const lost = source.lost.find(({ window }) => window > reached);
  if (lost === undefined) return undefined;
  return refuse(
    'RESNAPSHOT_REFUSED',
    `${what}: the row states hold window ${reached}, and window ${lost.window} is lost. ${DECLARE_AGAIN}`,
  );
}
