/** Plays a case's operations on tables in memory, and notes the images that a change log would hold. */
import type { Change } from '../states/store-shard.ts';
import type { JoinCase, Operation, RowValues, TableShape } from './join-case.ts';

export interface Played {
  /** The images of each window, in their order. */
  readonly windows: readonly (readonly Change[])[];
  /** By window, from 0 on: the rows of each table after it. */
  readonly after: readonly ReadonlyMap<string, readonly RowValues[]>[];
}

export function play(one: JoinCase): Played {
  const rows = new Map(one.schema.tables.map(({ name }) => [name, new Map<string, RowValues>()]));
  const snapshot = (): ReadonlyMap<string, readonly RowValues[]> =>
    new Map([...rows].map(([name, table]) => [name, [...table.values()]]));
  const after = [snapshot()];
  const windows = one.windows.map((operations) => {
    const images = operations.flatMap((operation) => apply(one.schema.tables, rows, operation));
    after.push(snapshot());
    return images;
  });
  return { windows, after };
}

/** An operation that the table would refuse, or that finds nothing to change, does nothing. */
function apply(
  shapes: readonly TableShape[],
  rows: ReadonlyMap<string, Map<string, RowValues>>,
  operation: Operation,
): Change[] {
  const shape = shapes.find(({ name }) => name === operation.table);
  const table = rows.get(operation.table);
  if (shape === undefined || table === undefined) throw new Error('an operation names a table');
  const key = (row: RowValues): string =>
    shape.primaryKey.map((column) => String(row[shape.columns.indexOf(column)])).join('|');
  const image = (weight: 1n | -1n, row: RowValues): Change => ({ table: shape.name, weight, row });
  const changes: Change[] = [];
  const old =
    operation.kind === 'insert' ? undefined : [...table.values()][operation.pick % Math.max(1, table.size)];
  if (operation.kind !== 'insert') {
    if (old === undefined) return [];
    const taken =
      operation.kind === 'update' && table.has(key(operation.row)) && key(operation.row) !== key(old);
    if (taken) return [];
    table.delete(key(old));
    changes.push(image(-1n, old));
  }
  if (operation.kind !== 'delete') {
    if (operation.kind === 'insert' && table.has(key(operation.row))) return [];
    table.set(key(operation.row), operation.row);
    changes.push(image(1n, operation.row));
  }
  return changes;
}
