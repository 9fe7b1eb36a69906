/**
 * A hash of a compiled document that does not depend on the order of its keys: a report with another hash is
 * another generation.
 */
import { createHash } from 'node:crypto';

export function specHash(document: object): string {
  return createHash('sha256').update(stableJson(document)).digest('hex');
}

/** JSON with keys in code point order and without undefined. */
export function stableJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => (isPlainObject(item) ? sorted(item) : item));
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function sorted(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
}
