/**
 * A hash of a compiled report that does not depend on the order of its keys: a report with another hash is
 * another generation.
 */
import { createHash } from 'node:crypto';
import { mutated } from '../base/index.ts';
import type { CompiledReport } from './model.ts';

/**
 * Hashes a report without the columns that its inputs were found to use: they are derived from its text and
 * what the table had then, and a later column with the name of any word in it makes no other report.
 */
export function specHash(report: CompiledReport): string {
  return createHash('sha256')
    .update(stableJson(withoutUses(report)))
    .digest('hex');
}

function withoutUses(report: CompiledReport): object {
  if (mutated('job.usesInHash')) return report;
  const inputs = report.inputs.map((input) => (input.kind === 'dimension' ? input : { ...input, uses: [] }));
  return { ...report, inputs };
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
