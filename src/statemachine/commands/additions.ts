/**
 * Tables that are added to a source whose windows are sealed. Until they are made in the store too the
 * source goes on as it is: whatever keeps them from being made (a table that the store refuses, for ever
 * maybe) stops nothing else, and they may be taken out of the job again. Then they are copied within the
 * chain (design 6.5), and reports over them begin from the row states.
 */
import { DECLARE_AGAIN, must, mutated } from '../../base/index.ts';
import { canBuild } from './declare-reports.ts';
import type { DeclareJob, FinishPrepare } from './operations.ts';
import type { PrepareGrant, SourceRecord, TableAddition } from './records.ts';
import { isStuck } from './resnapshot.ts';
import { refuse, type Refusal } from './result.ts';
import { newShardStates } from './states.ts';

type DeclaredSource = DeclareJob['sources'][number];

const addsTables = (known: SourceRecord, next: DeclaredSource): boolean =>
  next.captured.length > known.captured.length;

/** The prepare grant of a source that is not done: its own, or of tables that are added. */
export function openPrepare({ prepare, addition }: SourceRecord): PrepareGrant | null {
  return prepare?.done === true ? (addition?.prepare ?? null) : prepare;
}

/** Whether added tables may be captured now: one snapshot after the other, behind a log that is whole. */
export function takesTables(source: SourceRecord): boolean {
  const isCopying = source.cursor !== '' || source.resnapshot;
  if (isCopying && !mutated('state.tablesAddedWhileCopying')) return false;
  return source.lostPosition === null && !isStuck(source);
}

/** Whether these tables are being added already. */
function isWaitingFor(
  known: SourceRecord,
  next: DeclaredSource,
): known is SourceRecord & { readonly addition: TableAddition } {
  const { captured } = known.addition ?? {};
  if (mutated('state.waitingTablesAnew')) return false;
  if (captured?.length !== next.captured.length || next.keptTables !== known.captured.length - 1)
    return false;
  return captured.every((part, at) => part === next.captured[at]);
}

export function addingRefusal(known: SourceRecord, next: DeclaredSource): Refusal | undefined {
  if (!addsTables(known, next) || isWaitingFor(known, next)) return undefined;
  const what = `tables cannot be added to source ${known.name} now`;
  if (next.keptTables !== known.captured.length - 1) {
    return refuse('REPORT_ON_SEALED_SOURCE', `${what}: others were added meanwhile. Apply the job again`);
  }
  if (!takesTables(known)) {
    const isCopying = known.cursor !== '' || known.resnapshot;
    const way = isCopying
      ? 'wait until those that it has are copied'
      : 'put it right first (tidemark source list says how)';
    return refuse('REPORT_ON_SEALED_SOURCE', `${what}: ${way}`);
  }
  if (canBuild(known)) return undefined;
  const why = `it keeps no row states, and its windows up to ${known.horizon} are dropped`;
  return refuse('REPORT_ON_SEALED_SOURCE', `${what}: ${why}. ${DECLARE_AGAIN}`);
}

/**
 * What a sealed source is from the declaration on. What is captured goes on, with other windows maybe; row
 * states are kept from now on: windows that they are made of may be dropped before tables are there.
 */
export function declaredAgain(
  known: SourceRecord,
  next: DeclaredSource,
  { topology }: DeclareJob,
): SourceRecord {
  const adds = addsTables(known, next);
  const spec = adds ? next.kept : next.spec;
  const keepsCollector = spec === known.spec || mutated('state.otherWindowsKeepCollector');
  const collector = keepsCollector ? known.collector : null;
  if (!adds) return { ...known, spec, collector, addition: null };
  const states = known.states ?? topology.shards.map(({ name }) => newShardStates(name));
  const { spec: whole } = next;
  const addition = isWaitingFor(known, next) ? { ...known.addition, spec: whole } : newAddition(known, next);
  const waiting = { ...known, spec, collector, states, addition };
  if (!mutated('state.addedTablesAtOnce')) return waiting;
  return { ...takenUp(waiting, addition), prepare: null };
}

function newAddition(known: SourceRecord, { spec, captured, begins }: DeclaredSource): TableAddition {
  const cursor = must(begins[known.captured.length - 1], 'where an added table begins');
  const fresh = { attempts: 0, failedExecutorId: 0, problem: '', retryAtMs: 0 };
  return { spec, captured, cursor, prepare: null, ...fresh };
}

/** Whether the job says of a sealed source what was declared last. */
export function isDeclaredSo({ spec, addition }: SourceRecord, next: DeclaredSource): boolean {
  return addition === null ? spec === next.spec : addition.spec === next.spec && spec === next.kept;
}

/** Ends a prepare grant of added tables. */
export function finishAddition(
  source: SourceRecord,
  addition: TableAddition,
  { errorCode, errorMessage, retryAtMs }: FinishPrepare & { readonly retryAtMs: number },
): SourceRecord {
  if (errorCode !== '') {
    const problem = `${errorCode}: ${errorMessage}`;
    const failedExecutorId = addition.prepare?.executorId ?? 0;
    const attempts = addition.attempts + 1;
    const failed = { ...addition, prepare: null, attempts, failedExecutorId, problem, retryAtMs };
    return { ...source, addition: failed };
  }
  // The source was to be read again meanwhile, or is lost: they are prepared once more when that is over.
  if (!takesTables(source)) return { ...source, addition: { ...addition, prepare: null, problem: '' } };
  return takenUp(source, addition);
}

/** A collector that knows of them reads on under a new epoch. */
function takenUp(source: SourceRecord, { spec, captured, cursor }: TableAddition): SourceRecord {
  const formerTables = source.captured.length - 1;
  return { ...source, spec, captured, cursor, formerTables, addition: null, collector: null };
}
