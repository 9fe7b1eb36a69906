/** The two answers that an operation can give. */
import type { ErrorCode } from '../../base/index.ts';
import type { OperationResult, ResultValue } from './operations.ts';

export type Refusal = Extract<OperationResult, { ok: false }>;

export function accept(value: ResultValue = {}): OperationResult {
  return { ok: true, value };
}

/**
 * Refuses an operation. Everything is checked before the first write, so that a refused one changed nothing.
 */
export function refuse(code: ErrorCode, message: string): Refusal {
  return { ok: false, code, message };
}
