/**
 * Binds parameters by writing them into the text as literals. The text protocol is used because a
 * prepared statement sends every JS number as DOUBLE and a 64-bit integer as a string: `_w * ?` would not
 * be exact any more. mysql2's own formatter replaces every `?`, also inside strings; this one does not.
 */
import { TidemarkError } from '../base/index.ts';
import type { SqlParam } from './engine.ts';
import { assertBound, statementShape } from './statement-shape.ts';

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/** Returns `sql` with each placeholder replaced by the literal of its parameter. */
export function bindText(sql: string, params: readonly SqlParam[]): string {
  if (params.length === 0 && !sql.includes('?')) return sql;
  const shape = statementShape(sql, 'mysql');
  assertBound(shape, params);
  let text = '';
  let from = 0;
  shape.placeholders.forEach((offset, index) => {
    text += sql.slice(from, offset) + literal(params[index] ?? null);
    from = offset + 1;
  });
  return text + sql.slice(from);
}

/**
 * Writes a value as a MySQL literal (character set utf8mb4, backslash escapes on).
 * @throws TidemarkError `VALUE_RANGE` for an integer beyond 64 bits or a number that is not finite.
 */
export function literal(value: SqlParam): string {
  if (value === null) return 'NULL';
  switch (typeof value) {
    case 'boolean':
      return value ? '1' : '0';
    case 'bigint':
      if (value < INT64_MIN || value > UINT64_MAX) {
        throw new TidemarkError('VALUE_RANGE', `${value} does not fit 64 bits`);
      }
      return value.toString();
    case 'number':
      return numberLiteral(value);
    case 'string':
      return `'${value.replace(/['\\\0\n\r\x1a]/g, escaped)}'`;
    default:
      return `X'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}'`;
  }
}

function numberLiteral(value: number): string {
  if (Number.isSafeInteger(value)) return Object.is(value, -0) ? '-0e0' : value.toString();
  if (!Number.isFinite(value)) throw new TidemarkError('VALUE_RANGE', `${value} is not a number in SQL`);
  // The exponent makes it a DOUBLE; without one MySQL reads a DECIMAL.
  return value.toExponential();
}

const ESCAPES: Readonly<Record<string, string>> = {
  "'": "\\'",
  '\\': '\\\\',
  '\0': '\\0',
  '\n': '\\n',
  '\r': '\\r',
  '\x1a': '\\Z',
};

function escaped(char: string): string {
  return ESCAPES[char] ?? char;
}
