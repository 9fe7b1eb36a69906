/**
 * The type of a column in one form, however it is written: a statement says DEC(10) where the source's own
 * definition says decimal(10,0).
 */
import { mutated } from '../../base/index.ts';
import type { Word } from './statement-words.ts';

/** Names of several words come first. */
const ALIASES: readonly (readonly [names: readonly string[], base: string])[] = [
  [['NATIONAL VARCHAR', 'NATIONAL CHARACTER VARYING', 'NATIONAL CHAR VARYING'], 'VARCHAR'],
  [['NCHAR VARYING', 'NCHAR VARCHAR', 'CHARACTER VARYING', 'CHAR VARYING'], 'VARCHAR'],
  [['NVARCHAR', 'VARCHARACTER'], 'VARCHAR'],
  [['NATIONAL CHARACTER', 'NATIONAL CHAR', 'NCHAR', 'CHARACTER'], 'CHAR'],
  [['LONG VARBINARY'], 'MEDIUMBLOB'],
  [['LONG VARCHAR', 'LONG CHAR VARYING', 'LONG CHARACTER VARYING', 'LONG'], 'MEDIUMTEXT'],
  [['DOUBLE PRECISION', 'REAL', 'FLOAT8'], 'DOUBLE'],
  [['FLOAT4'], 'FLOAT'],
  [['JSON'], 'LONGTEXT'],
  [['BOOL', 'BOOLEAN', 'INT1'], 'TINYINT'],
  [['INT2'], 'SMALLINT'],
  [['INT3', 'MIDDLEINT'], 'MEDIUMINT'],
  [['INT4', 'INTEGER'], 'INT'],
  [['INT8'], 'BIGINT'],
  [['DEC', 'NUMERIC', 'FIXED'], 'DECIMAL'],
];
const INTEGERS = ['TINYINT', 'SMALLINT', 'MEDIUMINT', 'INT', 'BIGINT'];
/** From here on FLOAT(n) is a DOUBLE; its number says nothing else. */
const DOUBLE_FROM_BITS = 25;

/**
 * Writes the type at the head of a column's definition in one form, `DECIMAL 10 2` or `INT UNSIGNED`:
 * definitions with the same text have the same type, but for the character set and the members of ENUM.
 */
export function typeText(words: readonly Word[]): string {
  const { base, length } = baseOf(words);
  const numbers: string[] = [];
  let at = length;
  while (/^\d+$/.test(words[at]?.text ?? '')) {
    numbers.push(words[at]?.text ?? '');
    at += 1;
  }
  const unsigned = ['UNSIGNED', 'ZEROFILL'].includes(words[at]?.keyword ?? '') ? ['UNSIGNED'] : [];
  return [...sized(base, numbers), ...unsigned].join(' ');
}

function baseOf(words: readonly Word[]): { readonly base: string; readonly length: number } {
  const first = words[0]?.keyword ?? '';
  if (mutated('collector.typesAsWritten')) return { base: first, length: 1 };
  for (const [names, base] of ALIASES) {
    for (const name of names) {
      const parts = name.split(' ');
      if (parts.every((part, at) => words[at]?.keyword === part)) return { base, length: parts.length };
    }
  }
  return { base: first, length: 1 };
}

/** With the numbers that the server takes where none are written, and without those that say nothing. */
function sized(base: string, numbers: readonly string[]): readonly string[] {
  const [first, second] = numbers;
  // The number of an integer is only how wide it is shown, and YEAR has one form.
  if (INTEGERS.includes(base) || base === 'YEAR') return [base];
  switch (base) {
    case 'DECIMAL':
      return [base, first ?? '10', second ?? '0'];
    case 'CHAR':
    case 'BINARY':
    case 'BIT':
      return [base, first ?? '1'];
    case 'DATETIME':
    case 'TIMESTAMP':
    case 'TIME':
      return first === '0' ? [base] : [base, ...numbers];
    case 'FLOAT':
      if (first === undefined || second !== undefined) return [base, ...numbers];
      return [Number(first) < DOUBLE_FROM_BITS ? base : 'DOUBLE'];
    default:
      return [base, ...numbers];
  }
}
