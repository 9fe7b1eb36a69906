/**
 * A report database as far as the protocol goes: each function is one transaction on its primary
 * (design 6.8-6.12). A cell per event of the sources, so that what was counted twice or never shows itself.
 */
import type { Rules } from './clauses.ts';

export type Token = number;

export interface Span {
  readonly generation: number;
  readonly source: number;
  readonly first: number;
  readonly last: number;
}

export interface LedgerRow {
  readonly source: number;
  readonly first: number;
  readonly last: number;
  /** The token whose contribution stands; 0 if none. */
  readonly applied: Token;
  readonly floor: Token;
  readonly hole: boolean;
}

/** How far the spans of a source are folded into the cells, and under which seal the last of them was cut. */
export interface FoldMark {
  readonly window: number;
  readonly seal: Token;
}

export interface ReportRows {
  readonly ledger: Map<string, LedgerRow>;
  readonly contributions: Map<string, readonly string[]>;
  readonly cells: Map<string, number>;
  readonly folded: Map<number, FoldMark>;
  /** `source/window` of holes that were folded away: permanent. */
  readonly foldedHoles: Set<string>;
  readonly watermark: Map<number, number>;
}

export interface Database {
  /** Which server this is: a replica that is made primary holds the same rows under another name. */
  readonly server: number;
  cluster: string;
  epoch: Token;
  readonly reports: Map<number, ReportRows>;
}

/** What every transaction carries. */
export interface SinkGrant {
  readonly cluster: string;
  readonly epoch: Token;
  /** Where the epoch was set. A promoted replica has its row too, but maybe not all that came after. */
  readonly server: number;
}

export interface Write extends SinkGrant {
  readonly span: Span;
  readonly token: Token;
}

export interface Merge extends Write {
  readonly events: readonly string[];
  /** Up to where the log of the cluster thinks that everything is merged; only a wrong model looks at it. */
  readonly believed: number;
}

export type Refused = 'WRONG_EPOCH' | 'UNKNOWN_REPORT';
export type WriteResult = 'DONE' | 'FENCED' | 'FOLDED' | Refused;

export const NOT_FOLDED: FoldMark = { window: 0, seal: 0 };

export function emptyDatabase(cluster: string): Database {
  return { server: 1, cluster, epoch: 0, reports: new Map() };
}

export function copyDatabase(database: Database, server = database.server): Database {
  const reports = new Map<number, ReportRows>();
  for (const [id, rows] of database.reports) {
    reports.set(id, {
      ledger: new Map(rows.ledger),
      contributions: new Map(rows.contributions),
      cells: new Map(rows.cells),
      folded: new Map(rows.folded),
      foldedHoles: new Set(rows.foldedHoles),
      watermark: new Map(rows.watermark),
    });
  }
  return { server, cluster: database.cluster, epoch: database.epoch, reports };
}

export function prepare(
  database: Database,
  grant: SinkGrant,
  generation: number,
  rules: Rules,
): 'DONE' | Refused {
  if (!mayWrite(database, grant, rules)) return 'WRONG_EPOCH';
  if (!database.reports.has(generation)) {
    database.reports.set(generation, {
      ledger: new Map(),
      contributions: new Map(),
      cells: new Map(),
      folded: new Map(),
      foldedHoles: new Set(),
      watermark: new Map(),
    });
  }
  return 'DONE';
}

export function merge(database: Database, input: Merge, rules: Rules): WriteResult {
  const { span, token } = input;
  const rows = database.reports.get(span.generation);
  if (!mayWrite(database, input, rules)) return 'WRONG_EPOCH';
  if (rows === undefined) return 'UNKNOWN_REPORT';
  if (isFolded(rows, span) && rules('foldMarkChecked')) return 'FOLDED';
  const key = ledgerKey(span, rules);
  const row = rows.ledger.get(key) ?? { ...span, applied: 0, floor: 0, hole: false };
  if (row.applied === token && rules('sameTokenOnce')) return 'DONE';
  if (row.floor > token && rules('floorChecked')) return 'FENCED';
  if (row.applied !== token || rules('sameTokenOnce')) {
    if (rules('oldContributionRemoved')) takeAway(rows, key);
  }
  for (const event of input.events) add(rows, event, 1);
  rows.contributions.set(key, input.events);
  const floor = rules('floorRaised') ? token : row.floor;
  rows.ledger.set(key, { ...span, applied: token, floor, hole: false });
  raiseWatermark(rows, span.source, rules, input.believed);
  return 'DONE';
}

/** Raises the floor, removes the contribution and records the hole. */
export function skip(database: Database, input: Write, rules: Rules): WriteResult {
  const { span, token } = input;
  const rows = database.reports.get(span.generation);
  if (!mayWrite(database, input, rules)) return 'WRONG_EPOCH';
  if (rows === undefined) return 'UNKNOWN_REPORT';
  if (isFolded(rows, span)) return 'FOLDED';
  const key = ledgerKey(span, rules);
  const row = rows.ledger.get(key);
  if (row !== undefined && row.floor > token) return 'FENCED';
  if (rules('skipRemovesContribution')) takeAway(rows, key);
  rows.ledger.set(key, { ...span, applied: 0, floor: token, hole: true });
  raiseWatermark(rows, span.source, rules);
  return 'DONE';
}

export interface Fold extends SinkGrant {
  readonly generation: number;
  readonly source: number;
  readonly upTo: number;
  /** The seal of each window up to there. */
  readonly seals: readonly Token[];
}

/** Folds settled spans into the cells; returns the mark. */
export function fold(database: Database, input: Fold, rules: Rules): FoldMark | Refused {
  const rows = database.reports.get(input.generation);
  if (rules('foldChecksEpoch') && !mayWrite(database, input, rules)) return 'WRONG_EPOCH';
  if (rows === undefined) return 'UNKNOWN_REPORT';
  for (;;) {
    const mark = rows.folded.get(input.source) ?? NOT_FOLDED;
    const next = { generation: input.generation, source: input.source, first: mark.window + 1, last: 0 };
    const key = ledgerKey(next, rules);
    const row = rows.ledger.get(key);
    const last = row?.last ?? next.first;
    const settled = row !== undefined && (row.applied !== 0 || row.hole);
    if (last > input.upTo || (!settled && rules('foldStopsAtUnsettled'))) return mark;
    for (let window = next.first; row?.hole === true && window <= last; window++) {
      rows.foldedHoles.add(`${input.source}/${window}`);
    }
    rows.ledger.delete(key);
    rows.contributions.delete(key);
    rows.folded.set(input.source, { window: last, seal: input.seals[last - 1] ?? 0 });
    raiseWatermark(rows, input.source, rules);
  }
}

/** Whether this primary stands under the grant: asked now and then, so that a failover is noticed. */
export function probe(database: Database, input: Probe, rules: Rules): 'DONE' | 'WRONG_EPOCH' {
  if (!mayWrite(database, input, rules)) return 'WRONG_EPOCH';
  const lost = input.witnesses.some(
    (witness) => !isThere(database.reports.get(witness.generation), witness, rules),
  );
  return lost && rules('lossProbed') ? 'WRONG_EPOCH' : 'DONE';
}

/** A generation whose tables stood, a fold mark, or a task that was finished. */
export interface Witness {
  readonly generation: number;
  readonly folded?: { readonly source: number; readonly window: number };
  readonly task?: { readonly span: Span; readonly token: Token };
}

/** A database that lacks what the cluster knows to be done has gone back in time. */
export interface Probe extends SinkGrant {
  readonly witnesses: readonly Witness[];
}

function isThere(rows: ReportRows | undefined, { folded, task }: Witness, rules: Rules): boolean {
  if (rows === undefined) return false;
  if (folded !== undefined) return (rows.folded.get(folded.source)?.window ?? 0) >= folded.window;
  if (task === undefined || isFolded(rows, task.span)) return true;
  const row = rows.ledger.get(ledgerKey(task.span, rules));
  return row !== undefined && (row.hole ? row.floor : row.applied) >= task.token;
}

/** What the cluster knows of a report when it commits a fresh epoch. */
export interface KnownTask {
  readonly span: Span;
  readonly token: Token;
  readonly skipped: boolean;
  /** The latest seal among the windows of the span. */
  readonly seal: Token;
}

export interface FreshEpoch extends Omit<SinkGrant, 'server'> {
  /** The clusters from whose state this one was restored. */
  readonly ancestors: readonly string[];
  /** By generation, then source/first. */
  readonly known: ReadonlyMap<number, ReadonlyMap<string, KnownTask>>;
}

/** What the database holds once it stands under the epoch. */
export interface Inventory {
  readonly server: number;
  readonly reports: ReadonlyMap<number, InventoryOfReport>;
}

export interface InventoryOfReport {
  readonly ledger: ReadonlyMap<string, LedgerRow>;
  readonly folded: ReadonlyMap<number, FoldMark>;
}

/** Sets the epoch and retracts whatever the cluster does not stand for, in one transaction (design 6.12). */
export function setEpoch(
  database: Database,
  input: FreshEpoch,
  rules: Rules,
): Inventory | 'FOREIGN' | 'STALE' {
  const ours = database.cluster === input.cluster || input.ancestors.includes(database.cluster);
  if (!ours) return 'FOREIGN';
  const again = database.epoch === input.epoch && !rules('epochOncePerTry');
  if (database.epoch >= input.epoch && !again) return 'STALE';
  for (const [generation, rows] of database.reports) {
    retractUnknown(rows, input.known.get(generation), input.epoch, rules);
    if (rules('watermarkCutBack')) {
      rows.watermark.clear();
      const sources = [...rows.ledger.values()].map(({ source }) => source);
      for (const source of new Set([...sources, ...rows.folded.keys()])) raiseWatermark(rows, source, rules);
    }
  }
  database.cluster = input.cluster;
  database.epoch = input.epoch;
  return inventoryOf(database);
}

function retractUnknown(
  rows: ReportRows,
  known: ReadonlyMap<string, KnownTask> | undefined,
  epoch: Token,
  rules: Rules,
): void {
  for (const [key, row] of [...rows.ledger]) {
    const task = known?.get(key);
    if (task === undefined ? !rules('retractUnknown') : standsFor(task, row, rules)) continue;
    takeAway(rows, key);
    const floor = rules('retractedFloor') ? Math.max(row.floor, epoch) : row.floor;
    rows.ledger.set(key, { ...row, applied: 0, floor, hole: false });
  }
}

function standsFor(task: KnownTask, row: LedgerRow, rules: Rules): boolean {
  const grantKnown = task.span.last === row.last && Math.max(row.applied, row.floor) <= task.token;
  if (!grantKnown && rules('retractUnknown')) return false;
  if (row.hole) return task.skipped;
  if (row.applied === 0) return true;
  if (task.skipped && rules('retractSkipped')) return false;
  return row.applied >= task.seal || !rules('retractBelowSeal');
}

function inventoryOf(database: Database): Inventory {
  const reports = [...database.reports].map(([id, { ledger, folded }]) => {
    return [id, { ledger: new Map(ledger), folded: new Map(folded) }] as const;
  });
  return { server: database.server, reports: new Map(reports) };
}

/** How far every window is applied or a hole, by the ledger and the fold mark alone. */
export function settledUpTo(rows: ReportRows, source: number, from = 0): number {
  let mark = Math.max(from, rows.folded.get(source)?.window ?? 0);
  for (;;) {
    const row = rows.ledger.get(`${source}/${mark + 1}`);
    if (row === undefined || (row.applied === 0 && !row.hole)) return mark;
    mark = row.last;
  }
}

export function ledgerKey(span: Pick<Span, 'source' | 'first'>, rules: Rules): string {
  return rules('ledgerBySource') ? `${span.source}/${span.first}` : `0/${span.first}`;
}

function mayWrite(database: Database, grant: SinkGrant, rules: Rules): boolean {
  if (database.cluster !== grant.cluster && rules('clusterChecked')) return false;
  if (database.server !== grant.server && rules('serverChecked')) return false;
  if (!rules('epochEquality')) return true;
  return rules('epochNotAtLeast') ? database.epoch === grant.epoch : database.epoch <= grant.epoch;
}

function isFolded(rows: ReportRows, span: Span): boolean {
  return span.first <= (rows.folded.get(span.source)?.window ?? 0);
}

function add(rows: ReportRows, event: string, weight: number): void {
  rows.cells.set(event, (rows.cells.get(event) ?? 0) + weight);
}

function takeAway(rows: ReportRows, key: string): void {
  for (const event of rows.contributions.get(key) ?? []) add(rows, event, -1);
  rows.contributions.delete(key);
}

function raiseWatermark(rows: ReportRows, source: number, rules: Rules, believed = 0): void {
  const standing = rows.watermark.get(source) ?? 0;
  let reached = settledUpTo(rows, source, standing);
  if (!rules('watermarkFromLedger')) reached = Math.max(reached, believed);
  if (!rules('watermarkStopsAtGap')) {
    for (const row of rows.ledger.values()) {
      if (row.source === source && row.applied !== 0) reached = Math.max(reached, row.last);
    }
  }
  rows.watermark.set(source, reached);
}
