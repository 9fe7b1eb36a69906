/**
 * The order of primary keys, where it is known outside of the database too: whether a logged image is of a
 * row that a snapshot has copied is decided here, so it must be exactly the database's own.
 */
import { TidemarkError, must, mutated } from '../../base/index.ts';
import type { CapturedTable } from '../../job/index.ts';
import { parseColumnType, type DeclaredType } from '../../sql/index.ts';
import type { RowValues } from '../change-source.ts';

/** Integers, bytes, and texts of dates: all as the row images have them. */
export type KeyPart = bigint | string | Uint8Array;
export type RowKey = readonly KeyPart[];

/**
 * Integers by value, binary strings byte by byte, a shorter one first. Dates are shown with as many digits
 * each, so that their texts have their order. Not known: what a collation makes of a text.
 */
function isOrdered({ kind }: DeclaredType): boolean {
  if (mutated('collector.textKeysOrdered') && kind === 'TEXT') return true;
  return kind === 'BIGINT' || kind === 'BYTES' || kind === 'DATE' || kind === 'DATETIME';
}

export function hasKnownOrder(table: CapturedTable): boolean {
  const types = keyTypes(table);
  return types.length > 0 && types.every(isOrdered);
}

/** Whether a row's key is at or before `last`, in the table's own order. */
export function isUpTo(table: CapturedTable, row: RowValues, last: RowKey): boolean {
  const mine = keyOf(table, row);
  for (const [at, part] of last.entries()) {
    const order = compare(mine[at], part);
    if (order !== 0) return order < 0;
  }
  return true;
}

/** @throws TidemarkError `VALUE_RANGE` for a key that is not what its columns hold. */
export function keyOf(table: CapturedTable, row: RowValues): RowKey {
  return table.primaryKey.map((name) => {
    const value = row[table.columns.findIndex((column) => column.name === name)] ?? null;
    if (value !== null && typeof value !== 'number') return value;
    throw new TidemarkError('VALUE_RANGE', `a key of ${table.table} is no key: ${name} is ${value}`);
  });
}

/** As a seal's cursor carries it. */
export function keyTexts(key: RowKey): string[] {
  return key.map((part) => (part instanceof Uint8Array ? Buffer.from(part).toString('hex') : String(part)));
}

export function parseKey(table: CapturedTable, texts: readonly string[]): RowKey {
  return keyTypes(table).map(({ kind }, at) => {
    const text = texts[at] ?? '';
    if (kind === 'BYTES') return Buffer.from(text, 'hex');
    return kind === 'BIGINT' ? BigInt(text) : text;
  });
}

function keyTypes({ primaryKey, columns }: CapturedTable): DeclaredType[] {
  return primaryKey.map((name) => {
    const column = must(
      columns.find((one) => one.name === name),
      'a column of the primary key',
    );
    return parseColumnType(column.type);
  });
}

/** Parts of one column, so of one type. */
function compare(one: KeyPart | undefined, other: KeyPart): number {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other);
  if (one === other) return 0;
  return must(one, 'a part of a key') < other ? -1 : 1;
}
