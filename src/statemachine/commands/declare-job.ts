/**
 * Declaring a job: the whole of what is captured and reported. It is accepted or refused as one; what is
 * unchanged keeps its ids, generations and grants, and declaring the same again changes nothing.
 */
import { DECLARE_AGAIN, LIMITS, mutated } from '../../base/index.ts';
import { addingRefusal, declaredAgain, isDeclaredSo } from './additions.ts';
import { nextId } from './counters.ts';
import { declareReports, isSameReport, onlineRefusal } from './declare-reports.ts';
import { declareTopology, isSameGroup, topologyChange, type TopologyChange } from './declare-topology.ts';
import { idKey, windowKey, windowPrefix } from './keys.ts';
import type { ApplyMeta, DeclareJob, OperationResult } from './operations.ts';
import type { ReportRecord, SinkRecord, SourceRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import { newShardStates } from './states.ts';
import { newSink } from './sinks.ts';
import type { StateWriter } from './writer.ts';

type Action = 'created' | 'changed' | 'unchanged' | 'removed';

/** One line of the answer's `items`, which is a JSON list of these. */
export interface DeclaredItem {
  readonly kind: 'store' | 'database' | 'source' | 'report';
  readonly name: string;
  readonly id: number;
  readonly generation: number;
  readonly action: Action;
}

/** Answers `{ changed, items }`; `items` is JSON of a list of {@link DeclaredItem}. */
export function applyDeclareJob(writer: StateWriter, input: DeclareJob, meta: ApplyMeta): OperationResult {
  const change = compare(writer, input);
  const refusal = formRefusal(input) ?? sealedRefusal(writer, input, change);
  if (refusal !== undefined) return refusal;
  const topology = declareTopology(writer, input.topology);
  const items: DeclaredItem[] = [
    { kind: 'store', name: 'store', id: 1, generation: topology.version, action: topology.action },
    ...declareSinks(writer, input),
    ...declareSources(writer, input, change),
    ...declareReports(writer, input, meta),
    ...removeMissingSources(writer, input),
    ...removeMissingSinks(writer, input),
  ];
  const changed = items.some((item) => item.action !== 'unchanged');
  return accept({ changed, items: JSON.stringify(items) });
}

interface Change {
  readonly topology: TopologyChange;
  /** Report databases that are others than before, not only with other replicas. */
  readonly sinks: ReadonlySet<string>;
  /** Sources that are removed or different, or, before their first window, of which a report is. */
  readonly sources: ReadonlySet<string>;
}

function formRefusal(input: DeclareJob): Refusal | undefined {
  const families = [
    { what: 'sources', names: input.sources.map((source) => source.name), max: LIMITS.sourcesMax },
    { what: 'reports', names: input.reports.map((report) => report.name), max: LIMITS.reportsMax },
    { what: 'databases', names: input.sinks.map((sink) => sink.name), max: LIMITS.sourcesMax },
  ];
  for (const { what, names, max } of families) {
    if (names.length > max) return refuse('JOB_INVALID', `a job has at most ${max} ${what}`);
    if (new Set(names).size < names.length) return refuse('JOB_INVALID', `${what}: a name occurs twice`);
    const bad = names.find((name) => name === '' || name.length > LIMITS.nameLengthMax);
    if (bad !== undefined)
      return refuse('JOB_INVALID', `${what}: a name has 1 to ${LIMITS.nameLengthMax} characters`);
  }
  if (input.topology.shards.length === 0) return refuse('JOB_INVALID', 'the store has no shard');
  return referenceRefusal(input);
}

function referenceRefusal(input: DeclareJob): Refusal | undefined {
  const sinks = new Set(input.sinks.map((sink) => sink.name));
  const sources = new Map(input.sources.map((source) => [source.name, source]));
  for (const source of input.sources) {
    if (!sinks.has(source.sink)) {
      return refuse('JOB_INVALID', `source ${source.name}: no such report database: ${source.sink}`);
    }
    const tables = source.captured.length - 1;
    if (source.begins.length !== tables || source.keptTables > tables) {
      return refuse('JOB_INVALID', `source ${source.name}: not all of its tables begin somewhere`);
    }
  }
  for (const report of input.reports) {
    const source = sources.get(report.source);
    if (source === undefined) {
      return refuse('JOB_INVALID', `report ${report.name}: no such source: ${report.source}`);
    }
    if (source.sink !== report.sink) {
      return refuse('JOB_UNSUPPORTED', `report ${report.name}: its database must be that of its source`);
    }
    if (report.parts < 1) return refuse('JOB_INVALID', `report ${report.name}: it has no part`);
  }
  return undefined;
}

/** What lies below a sealed window stands: where its change rows are, and what they are of. */
function sealedRefusal(writer: StateWriter, input: DeclareJob, change: Change): Refusal | undefined {
  for (const source of writer.sources.values()) {
    if (source.lastWindow === 0) continue;
    const next = input.sources.find((declared) => declared.name === source.name);
    // One that is removed goes with everything that is of it.
    if (next === undefined && !mutated('state.sealedSourceStays')) continue;
    if (change.sources.has(source.name)) {
      const fixedParts =
        'its database, tables and shard keys, and the database of its reports, cannot change';
      const message = `source ${source.name} has sealed windows: ${fixedParts}. ${DECLARE_AGAIN}`;
      return refuse('REPORT_ON_SEALED_SOURCE', message);
    }
    const refusal = next === undefined ? undefined : addingRefusal(source, next);
    if (refusal !== undefined) return refusal;
    if (change.topology === 'places') return fixed(source, 'the store');
    if (change.sinks.has(next?.sink ?? '')) return fixed(source, `the database ${next?.sink ?? ''}`);
  }
  return onlineRefusal(writer, input);
}

type DeclaredSource = DeclareJob['sources'][number];

/** Whether a source captures what it did; once windows are sealed, tables may come after the others. */
function isCapturedSo({ captured, lastWindow }: SourceRecord, next: DeclaredSource): boolean {
  if (lastWindow === 0 && next.captured.length !== captured.length) return false;
  return captured.every((part, at) => part === next.captured[at]);
}

function fixed(source: SourceRecord, what: string): Refusal {
  const allowed = 'only replicas may change, and a replica may be named as the primary';
  return refuse('TOPOLOGY_FIXED', `source ${source.name} has sealed windows in ${what}: ${allowed}`);
}

function compare(writer: StateWriter, input: DeclareJob): Change {
  const sinks = new Set<string>();
  for (const sink of input.sinks) {
    const known = byName(writer.sinks.values(), sink.name);
    if (known !== undefined && !isSameGroup(known, sink)) sinks.add(sink.name);
  }
  return {
    topology: topologyChange(writer.topology, input.topology),
    sinks,
    sources: changedSources(writer, input),
  };
}

function changedSources(writer: StateWriter, input: DeclareJob): ReadonlySet<string> {
  const changed = new Set<string>();
  for (const known of writer.sources.values()) {
    const next = input.sources.find((source) => source.name === known.name);
    const sink = writer.sinks.get(idKey(known.sinkId));
    const same = next !== undefined && isCapturedSo(known, next) && next.sink === sink?.name;
    if (!same) changed.add(known.name);
    else if (known.lastWindow === 0 && hasOtherReports(writer, input, known)) changed.add(known.name);
  }
  return changed;
}

function hasOtherReports(writer: StateWriter, input: DeclareJob, source: SourceRecord): boolean {
  const before = [...writer.reports.values()].filter(({ sourceId }) => sourceId === source.id);
  const after = input.reports.filter((report) => report.source === source.name);
  const kept = after.filter((next) =>
    before.some((one) => one.name === next.name && isSameReport(writer, one, next)),
  );
  return kept.length < before.length || kept.length < after.length;
}

function declareSinks(writer: StateWriter, input: DeclareJob): DeclaredItem[] {
  return input.sinks.map((sink) => {
    const known = byName(writer.sinks.values(), sink.name);
    const same = known?.spec === sink.spec;
    const id = known?.id ?? nextId(writer, 'sink');
    // Another database behind the same name starts under an epoch of its own.
    const { name, spec, members } = sink;
    const fresh = newSink({ id, name, spec, members });
    const kept = known !== undefined && isSameGroup(known, sink) ? { ...known, spec, members } : fresh;
    if (!same) writer.sinks.put(idKey(id), kept);
    return { kind: 'database', name: sink.name, id, generation: 1, action: actionOf(known, same) };
  });
}

/**
 * A changed source, or one with a changed report or database, is prepared and collected anew. Where windows
 * are cut otherwise from now on, the open one is begun again, by a collector that knows.
 */
function declareSources(writer: StateWriter, input: DeclareJob, change: Change): DeclaredItem[] {
  return input.sources.map((source): DeclaredItem => {
    const known = byName(writer.sources.values(), source.name);
    const sink = byName(writer.sinks.values(), source.sink);
    const id = known?.id ?? nextId(writer, 'source');
    const same = known !== undefined && isDeclaredSo(known, source) && known.sinkId === sink?.id;
    const moved = change.sinks.has(source.sink) || change.topology === 'places';
    const restart = change.sources.has(source.name) || moved;
    if (known === undefined || restart) {
      const { name, spec, captured } = source;
      const fresh = newSource({ id, name, spec, captured, sinkId: sink?.id ?? 0 });
      writer.sources.put(idKey(id), { ...fresh, states: statesOf(input, source.name) });
      forgetCopies(writer, id);
    } else if (!same) writer.sources.put(idKey(id), declaredAgain(known, source, input));
    return { kind: 'source', name: source.name, id, generation: 1, action: actionOf(known, same) };
  });
}

function newSource(source: Pick<SourceRecord, 'id' | 'name' | 'spec' | 'captured' | 'sinkId'>): SourceRecord {
  return {
    ...source,
    prepare: null,
    addition: null,
    collector: null,
    lastWindow: 0,
    position: '',
    cursor: '',
    formerTables: 0,
    schemas: [],
    mergedWindow: 0,
    states: null,
    formerChains: [],
    horizon: 0,
    droppedWindow: 0,
    drop: null,
    dropRetryAtMs: 0,
    lost: [],
    lostPosition: null,
    resnapshot: false,
    holed: false,
    problem: '',
    retryAtMs: 0,
  };
}

/** What is prepared anew before its first window is copied anew, maybe from another database. */
function forgetCopies(writer: StateWriter, sourceId: number): void {
  for (const report of [...writer.reports.values()]) {
    if (report.sourceId !== sourceId || report.prepared === '') continue;
    writer.reports.put(idKey(report.id), { ...report, prepared: '', copies: [], copiesLost: false });
  }
}

/** Row states are kept from the first window on where a report reads them (design 6.6). */
function statesOf(input: DeclareJob, source: string): SourceRecord['states'] {
  const read = input.reports.some((report) => report.source === source && report.readsStates);
  return read ? input.topology.shards.map(({ name }) => newShardStates(name)) : null;
}

/**
 * Forgets sources with their windows, once their reports are retired: who holds a grant of one is refused
 * from now on. What the store has of it stays there.
 */
function removeMissingSources(writer: StateWriter, input: DeclareJob): DeclaredItem[] {
  const items: DeclaredItem[] = [];
  for (const known of [...writer.sources.values()]) {
    if (input.sources.some((source) => source.name === known.name)) continue;
    for (const { window } of [...writer.windows.withPrefix(windowPrefix(known.id))]) {
      writer.windows.delete(windowKey(known.id, window));
    }
    writer.sources.delete(idKey(known.id));
    items.push({ kind: 'source', name: known.name, id: known.id, generation: 1, action: 'removed' });
  }
  return items;
}

/** Nobody can drop a report from a database that is not declared any more: what is there stays. */
function removeMissingSinks(writer: StateWriter, input: DeclareJob): DeclaredItem[] {
  const items: DeclaredItem[] = [];
  for (const known of [...writer.sinks.values()]) {
    if (input.sinks.some((sink) => sink.name === known.name)) continue;
    writer.sinks.delete(idKey(known.id));
    for (const report of [...writer.reports.values()]) {
      if (report.sinkId === known.id && !mutated('state.reportsWithoutSink')) {
        writer.reports.delete(idKey(report.id));
      }
    }
    items.push({ kind: 'database', name: known.name, id: known.id, generation: 1, action: 'removed' });
  }
  return items;
}

function actionOf(known: SinkRecord | SourceRecord | ReportRecord | undefined, same: boolean): Action {
  if (known === undefined) return 'created';
  return same ? 'unchanged' : 'changed';
}

function byName<R extends { readonly name: string }>(rows: Iterable<R>, name: string): R | undefined {
  for (const row of rows) if (row.name === name) return row;
  return undefined;
}
