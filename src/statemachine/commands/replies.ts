/**
 * Bytes of answers: per item a list of results, per entry a list of items. The item's bytes are what a
 * session keeps.
 */
import { decode, encode, isErrorCode, TidemarkError } from '../../base/index.ts';
import type { OperationResult, ResultValue } from './operations.ts';

export const REPLY_FORMAT = 1;

export function encodeItemReply(results: readonly OperationResult[]): Uint8Array {
  return encode(REPLY_FORMAT, results);
}

export function encodeReplies(items: readonly Uint8Array[]): Uint8Array {
  return encode(REPLY_FORMAT, items);
}

/**
 * Reads the reply of an entry: per item, the results of its operations. The reply of an entry of consensus
 * itself is empty.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`.
 */
export function decodeReplies(bytes: Uint8Array): OperationResult[][] {
  if (bytes.length === 0) return [];
  const items = decode(REPLY_FORMAT, bytes, 'reply');
  if (!Array.isArray(items)) throw corrupt();
  return items.map((item: unknown) => {
    if (!(item instanceof Uint8Array)) throw corrupt();
    const results = decode(REPLY_FORMAT, item, 'reply');
    if (!Array.isArray(results)) throw corrupt();
    return results.map(asResult);
  });
}

function asResult(value: unknown): OperationResult {
  const result = (typeof value === 'object' ? value : null) as Readonly<Record<string, unknown>> | null;
  if (result?.['ok'] === true && typeof result['value'] === 'object' && result['value'] !== null) {
    return { ok: true, value: result['value'] as ResultValue };
  }
  const code = result?.['code'];
  const message = result?.['message'];
  if (result?.['ok'] === false && isErrorCode(code) && typeof message === 'string') {
    return { ok: false, code, message };
  }
  throw corrupt();
}

function corrupt(): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', 'reply: not a list of answers');
}
