/** What must be true of a report database, whatever happened (design 6.8-6.12). */
import type { Cluster } from './cluster.ts';
import { NOT_FOLDED, settledUpTo, type Database, type ReportRows } from './database.ts';
import { Violation } from './violation.ts';
import { eventsOf, type World } from './world.ts';

/** After every step: what readers see of the primary. */
export function judge(world: World): void {
  const { primary } = world;
  for (const [generation, rows] of primary.reports) judgeRows(generation, rows);
  const owner = world.clusters.find(({ id }) => id === primary.cluster);
  const stands = primary.server === owner?.server && primary.epoch === owner.epoch;
  if (owner?.ready === true && stands) judgeCells(owner, primary);
}

/** When all work is done: every sealed event is counted once, or lies in a hole that both sides know. */
export function judgeEnd(world: World): void {
  const { cluster, primary } = world;
  for (const [id, generation] of cluster.generations) {
    const rows = primary.reports.get(id);
    if (rows === undefined) throw new Violation(`report ${id} is not there in the end`);
    for (const source of world.events.keys()) {
      const last = cluster.lastWindow(source);
      const mark = rows.watermark.get(source) ?? 0;
      if (mark !== last)
        throw new Violation(`the watermark of source ${source} stands at ${mark} of ${last}`);
      for (const task of generation.tasks.values()) {
        if (task.span.source !== source || task.span.last <= (rows.folded.get(source)?.window ?? 0)) continue;
        const row = rows.ledger.get(`${source}/${task.span.first}`);
        if ((task.state === 'SKIPPED') !== (row?.hole ?? false)) {
          throw new Violation(
            `window ${task.span.first} of source ${source} is ${task.state}, hole ${row?.hole}`,
          );
        }
      }
    }
  }
}

function judgeRows(generation: number, rows: ReportRows): void {
  for (const [source, mark] of rows.watermark) {
    const settled = settledUpTo(rows, source);
    if (mark > settled)
      throw new Violation(`report ${generation}: watermark ${mark}, settled up to ${settled}`);
  }
}

function judgeCells(cluster: Cluster, database: Database): void {
  for (const id of cluster.generations.keys()) {
    const rows = database.reports.get(id);
    if (rows === undefined) continue;
    const expected = new Map<string, number>();
    for (const source of cluster.windows.keys()) expectOf(cluster, rows, source, expected);
    for (const event of new Set([...rows.cells.keys(), ...expected.keys()])) {
      const [is, must] = [rows.cells.get(event) ?? 0, expected.get(event) ?? 0];
      if (is !== must)
        throw new Violation(`report ${id}: event ${event} is counted ${is} times, not ${must}`);
    }
  }
}

/** What ledger and fold mark vouch for must be what the windows hold, as this cluster has cut them. */
function expectOf(cluster: Cluster, rows: ReportRows, source: number, expected: Map<string, number>): void {
  const { window: folded, seal } = rows.folded.get(source) ?? NOT_FOLDED;
  if (folded > 0 && cluster.windows[source]?.[folded - 1]?.seal !== seal) {
    throw new Violation(`the fold mark ${folded} of source ${source} is not of this cluster's chain`);
  }
  for (let window = 1; window <= folded; window++) {
    if (rows.foldedHoles.has(`${source}/${window}`)) continue;
    for (const event of eventsOf(cluster, { source, first: window, last: window })) expected.set(event, 1);
  }
  for (const row of rows.ledger.values()) {
    // What is folded is counted above; a row that came after it counts it again.
    if (row.source !== source || row.applied === 0 || row.first <= folded) continue;
    for (const event of eventsOf(cluster, row)) expected.set(event, (expected.get(event) ?? 0) + 1);
  }
}
