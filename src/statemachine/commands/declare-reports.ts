/**
 * The reports of a declared job. Before the first window of a source its reports are simply put; behind it
 * each change is a generation of its own that begins from the row states (design 6.6), while the one that it
 * replaces goes on until it has caught up.
 */
import { DECLARE_AGAIN } from '../../base/index.ts';
import { nextGeneration, nextId } from './counters.ts';
import type { DeclaredItem } from './declare-job.ts';
import { newestNamed, isRetired, retire } from './generations.ts';
import { idKey } from './keys.ts';
import type { ApplyMeta, DeclareJob } from './operations.ts';
import type { ReportRecord, SourceRecord } from './records.ts';
import { refuse, type Refusal } from './result.ts';
import { newShardStates } from './states.ts';
import { settleSource } from './windows.ts';
import type { StateWriter } from './writer.ts';

type DeclaredReport = DeclareJob['reports'][number];

export function isSameReport(writer: StateWriter, known: ReportRecord, next: DeclaredReport): boolean {
  return (
    known.specHash === next.specHash &&
    known.parts === next.parts &&
    known.readsStates === next.readsStates &&
    writer.sources.get(idKey(known.sourceId))?.name === next.source &&
    writer.sinks.get(idKey(known.sinkId))?.name === next.sink
  );
}

/** What sealed windows forbid: a report that moves, and one whose past nothing tells any more. */
export function onlineRefusal(writer: StateWriter, input: DeclareJob): Refusal | undefined {
  for (const next of input.reports) {
    const known = newestNamed(writer, next.name);
    if (known !== undefined && isSameReport(writer, known, next)) continue;
    const source = sourceNamed(writer, next.source);
    const former = known === undefined ? undefined : writer.sources.get(idKey(known.sourceId));
    const isSealed = (source?.lastWindow ?? 0) > 0;
    if (former !== undefined && former.name !== next.source && (isSealed || former.lastWindow > 0)) {
      const message = `report ${next.name} cannot move from source ${former.name} to ${next.source}`;
      const way = 'declare it there under another name, and take this one out of the file';
      return refuse('REPORT_ON_SEALED_SOURCE', `${message}: ${way}`);
    }
    if (!isSealed || source === undefined || canBuild(source)) continue;
    const message = `source ${source.name} keeps no row states, and its windows up to ${source.horizon}`;
    const why = `report ${next.name} cannot be made from its past: ${message} are dropped`;
    return refuse('REPORT_ON_SEALED_SOURCE', `${why}. ${DECLARE_AGAIN}`);
  }
  return undefined;
}

/** Row states are kept already, or can be made from the first window on. */
export function canBuild(source: SourceRecord): boolean {
  return source.states !== null || (source.horizon === 0 && source.droppedWindow === 0);
}

export function declareReports(writer: StateWriter, input: DeclareJob, meta: ApplyMeta): DeclaredItem[] {
  const items = input.reports.map((report) => declareReport(writer, input, report));
  const wanted = new Set(input.reports.map(({ name }) => name));
  for (const known of [...writer.reports.values()]) {
    if (wanted.has(known.name) || isRetired(known)) continue;
    remove(writer, known);
    const { name, id, generation } = known;
    items.push({ kind: 'report', name, id, generation, action: 'removed' });
  }
  // What is on its way out holds no window back.
  for (const { id } of [...writer.sources.values()]) settleSource(writer, id, meta);
  return items;
}

function declareReport(writer: StateWriter, input: DeclareJob, report: DeclaredReport): DeclaredItem {
  const { name, paused } = report;
  const known = newestNamed(writer, name);
  if (known !== undefined && isSameReport(writer, known, report)) {
    const { id, generation } = known;
    const same = known.paused === paused;
    if (!same) writer.reports.put(idKey(id), { ...known, paused });
    return { kind: 'report', name, id, generation, action: same ? 'unchanged' : 'changed' };
  }
  const source = sourceNamed(writer, report.source);
  const online = (source?.lastWindow ?? 0) > 0;
  const id = known === undefined || online ? nextId(writer, 'report') : known.id;
  const generation = nextGeneration(writer, known?.generation ?? 0);
  const replaces = known === undefined ? 0 : known.phase === 'live' ? known.id : known.replaces;
  writer.reports.put(idKey(id), {
    ...newReport(report, { id, generation, source }),
    ...(online ? { phase: 'new', replaces } : {}),
  });
  if (online && source !== undefined) keepStates(writer, input, source);
  // One that was never shown is overtaken by this one.
  if (online && known !== undefined && known.phase !== 'live') retire(writer, known);
  return { kind: 'report', name, id, generation, action: known === undefined ? 'created' : 'changed' };
}

function newReport(
  report: DeclaredReport,
  of: { readonly id: number; readonly generation: number; readonly source: SourceRecord | undefined },
): ReportRecord {
  const { name, spec, specHash, parts, readsStates, paused } = report;
  return {
    id: of.id,
    generation: of.generation,
    name,
    spec,
    specHash,
    sourceId: of.source?.id ?? 0,
    sinkId: of.source?.sinkId ?? 0,
    baseWindow: of.source?.lastWindow ?? 0,
    parts,
    nextWindow: 1,
    mergedWindow: 0,
    finalWindow: 0,
    folded: { window: 0, seal: '' },
    fold: null,
    foldRetryAtMs: 0,
    droppedWindow: 0,
    holes: 0,
    readsStates,
    phase: 'live',
    change: null,
    changeRetryAtMs: 0,
    changeProblem: '',
    prepared: '',
    copies: [],
    copiesLost: false,
    replaces: 0,
    paused,
    stopped: null,
  };
}

/** What is added behind sealed windows begins from the row states: from now on they are kept. */
function keepStates(writer: StateWriter, { topology }: DeclareJob, source: SourceRecord): void {
  if (source.states !== null) return;
  const states = topology.shards.map(({ name }) => newShardStates(name));
  writer.sources.put(idKey(source.id), { ...source, states });
}

function remove(writer: StateWriter, report: ReportRecord): void {
  const source = writer.sources.get(idKey(report.sourceId));
  if ((source?.lastWindow ?? 0) > 0) retire(writer, report);
  else writer.reports.delete(idKey(report.id));
}

function sourceNamed(writer: StateWriter, name: string): SourceRecord | undefined {
  for (const source of writer.sources.values()) if (source.name === name) return source;
  return undefined;
}
