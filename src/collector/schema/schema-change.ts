/**
 * What an altered table means for those who read its columns (design 6.3). A column is broken when rows that
 * were captured before and images that are logged from now on may show different values of it: a report that
 * reads it would subtract what it never added.
 */
import { mutated } from '../../base/index.ts';
import type { CapturedTable, ColumnSpec } from '../../job/index.ts';
import { schemaChanged } from '../binlog/binlog-rows.ts';
import type { TouchedColumns } from './alter-clauses.ts';
import { wordsOf } from './statement-words.ts';
import { typeText } from './type-text.ts';

export interface BrokenColumn {
  readonly column: string;
  readonly why: string;
}

/** A new definition of a captured table, as the collector found it in the log. */
export interface SchemaChange {
  readonly before: CapturedTable;
  /** With the next schema version. */
  readonly after: CapturedTable;
  readonly broken: readonly BrokenColumn[];
}

/**
 * Makes the change from what is captured to what the source shows now; undefined if nothing changed.
 * @throws TidemarkError `SCHEMA_CHANGED` when the table's keys are not what they were.
 */
export function redefine(
  before: CapturedTable,
  now: CapturedTable,
  touched: TouchedColumns,
): SchemaChange | undefined {
  const broken = brokenColumns(before.columns, now.columns, touched);
  const same = JSON.stringify(now.columns) === JSON.stringify(before.columns);
  const { primaryKey, shardKey, schemaVersion } = before;
  if (now.primaryKey.join() !== primaryKey.join()) {
    throw schemaChanged(before.table, 'its primary key is another');
  }
  const key = broken.find(({ column }) => primaryKey.includes(column) || column === shardKey);
  if (key !== undefined) throw schemaChanged(before.table, `its key column ${key.column}: ${key.why}`);
  if (same && broken.length === 0) return undefined;
  const known = before.columns.map(({ name }) => name);
  const unknown = new Set([...(before.young ?? []), ...broken.map(({ column }) => column)]);
  const young = now.columns
    .map(({ name }) => name)
    .filter((name) => unknown.has(name) || !known.includes(name));
  const after = { ...before, columns: now.columns, young, schemaVersion: schemaVersion + 1 };
  return { before, after, broken };
}

/** Compares what is captured with what the source shows now; `touched` is what the statement says. */
export function brokenColumns(
  before: readonly ColumnSpec[],
  after: readonly ColumnSpec[],
  touched: TouchedColumns,
): BrokenColumn[] {
  return before.flatMap((column) => {
    const next = after.find(({ name }) => name === column.name);
    const why = next === undefined ? 'it is gone' : whyBroken(column, next, touched);
    return why === undefined ? [] : [{ column: column.name, why }];
  });
}

function whyBroken(before: ColumnSpec, after: ColumnSpec, touched: TouchedColumns): string | undefined {
  const name = before.name.toLowerCase();
  if (touched.remade.has(name) && !mutated('collector.remadeColumnKept')) {
    return 'another column has its name';
  }
  const written = touched.retyped.get(name);
  if (written !== undefined && written !== typeText(wordsOf(after.declared ?? ''))) {
    return 'it was altered once more before this was read';
  }
  if (before.nullable && !after.nullable) return 'it was NULL in some rows, perhaps, and cannot be now';
  const [was, is] = [before.declared ?? before.type, after.declared ?? after.type];
  const lossless = was === is || holdsAll(shapeOf(was), shapeOf(is));
  if (!lossless && !mutated('collector.anyTypeIsWider')) return `it was ${was}, it is ${is}`;
  const { converted } = touched;
  if (converted !== undefined && charsetOf(is) !== '' && charsetOf(is) !== converted) {
    return 'its character set was altered once more before this was read';
  }
  return undefined;
}

interface Shape {
  readonly base: string;
  readonly numbers: readonly number[];
  readonly unsigned: boolean;
  readonly charset: string;
}

function shapeOf(declared: string): Shape {
  const [base = '', ...rest] = typeText(wordsOf(declared)).split(' ');
  return {
    base,
    numbers: rest.filter((word) => /^\d+$/.test(word)).map(Number),
    unsigned: rest.includes('UNSIGNED'),
    charset: charsetOf(declared),
  };
}

const charsetOf = (declared: string): string =>
  / character set (\w+)$/.exec(declared.toLowerCase())?.[1] ?? '';

const INTEGERS = ['TINYINT', 'SMALLINT', 'MEDIUMINT', 'INT', 'BIGINT'];
const TEXTS = ['TINYTEXT', 'TEXT', 'MEDIUMTEXT', 'LONGTEXT'];
const BLOBS = ['TINYBLOB', 'BLOB', 'MEDIUMBLOB', 'LONGBLOB'];
/** Every text of these is the same text in utf8mb4. */
const INSIDE_UTF8MB4 = ['utf8', 'utf8mb3', 'ascii', 'latin1', 'utf8mb4'];

/**
 * Whether every value of `was` is the same value as `is`, in the same text: shard slots, keys and multiset
 * values are made of that, so DATETIME(0) does not become DATETIME(6). False also where it is not known.
 */
function holdsAll(was: Shape, is: Shape): boolean {
  if (was.unsigned !== is.unsigned) return false;
  for (const family of [INTEGERS, TEXTS, BLOBS]) {
    if (!family.includes(was.base)) continue;
    return sameTexts(was, is) && family.indexOf(was.base) <= family.indexOf(is.base);
  }
  switch (was.base) {
    case 'DECIMAL': {
      const [[precision = 0, scale = 0], [widerPrecision = 0, sameScale = 0]] = [was.numbers, is.numbers];
      return is.base === 'DECIMAL' && scale === sameScale && widerPrecision >= precision;
    }
    case 'CHAR':
    case 'VARCHAR':
      return sameTexts(was, is) && [was.base, 'VARCHAR'].includes(is.base) && isLonger(was, is);
    case 'VARBINARY':
      return was.base === is.base && isLonger(was, is);
    case 'DATETIME':
    case 'TIMESTAMP':
      return mutated('collector.digitsOfTimeAdded') && was.base === is.base && isLonger(was, is);
    default:
      return false;
  }
}

function sameTexts(was: Shape, is: Shape): boolean {
  return was.charset === is.charset || (INSIDE_UTF8MB4.includes(was.charset) && is.charset === 'utf8mb4');
}

const isLonger = (was: Shape, is: Shape): boolean => (is.numbers[0] ?? 0) >= (was.numbers[0] ?? 0);
