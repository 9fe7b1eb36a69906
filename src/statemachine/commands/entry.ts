/**
 * The payload of a Raft entry: encoding, and the structural check that both sides make. The proposer makes it
 * so that nothing malformed enters the log; the state machine makes it so that damage is not taken for data.
 */
import { decode, encode, LIMITS, TidemarkError, type Encodable, type ErrorCode } from '../../base/index.ts';
import type { Entry, EntryItem, Operation } from './operations.ts';
import { mismatch, OPERATION_SHAPES } from './operation-shapes.ts';

export const ENTRY_FORMAT = 1;

/**
 * Encodes an entry for `propose`.
 * @throws TidemarkError `BAD_REQUEST` for an operation of wrong form, `MESSAGE_TOO_LARGE` beyond
 * `opsPerEntryMax` operations or `raftEntryBytesMax` bytes.
 */
export function encodeEntry(entry: Entry): Uint8Array {
  checkEntry(entry, 'BAD_REQUEST');
  const operations = entry.items.reduce((sum, item) => sum + item.operations.length, 0);
  if (operations > LIMITS.opsPerEntryMax) {
    const message = `${operations} operations in one entry; the limit is ${LIMITS.opsPerEntryMax}`;
    throw new TidemarkError('MESSAGE_TOO_LARGE', message);
  }
  const bytes = encode(ENTRY_FORMAT, entry as unknown as Encodable);
  if (bytes.length > LIMITS.raftEntryBytesMax) {
    const message = `an entry of ${bytes.length} bytes; the limit is ${LIMITS.raftEntryBytesMax}`;
    throw new TidemarkError('MESSAGE_TOO_LARGE', message);
  }
  return bytes;
}

/**
 * Decodes a committed entry.
 * @throws TidemarkError `DATA_CORRUPT`, or `FORMAT_UNKNOWN` for an entry or operation of a later version.
 */
export function decodeEntry(bytes: Uint8Array): Entry {
  const value = decode(ENTRY_FORMAT, bytes, 'log entry');
  checkEntry(value, 'DATA_CORRUPT');
  return value;
}

function checkEntry(value: unknown, code: ErrorCode): asserts value is Entry {
  const wrong = mismatch(value, { logTimeMs: 'natural', wallMs: 'natural', items: 'list' }, 'entry');
  if (wrong !== undefined) throw new TidemarkError(code, wrong);
  for (const item of (value as { readonly items: readonly unknown[] }).items) checkItem(item, code);
}

function checkItem(value: unknown, code: ErrorCode): void {
  const wrong = mismatch(value, { session: 'natural', sequence: 'natural', operations: 'list' }, 'item');
  if (wrong !== undefined) throw new TidemarkError(code, wrong);
  const { acked } = value as EntryItem;
  if (acked !== undefined && !(Number.isSafeInteger(acked) && acked >= 0)) {
    throw new TidemarkError(code, 'item.acked: not a natural');
  }
  for (const operation of (value as EntryItem).operations) checkOperation(operation, code);
}

function checkOperation(operation: Operation, code: ErrorCode): void {
  const wrong = mismatch(operation, { type: 'text', v: 'natural' }, 'operation');
  if (wrong !== undefined) throw new TidemarkError(code, wrong);
  const known = Object.hasOwn(OPERATION_SHAPES, operation.type);
  if (!known || (operation.v as number) !== 1) {
    const message = `operation ${operation.type} version ${operation.v} is not known to this program`;
    throw new TidemarkError('FORMAT_UNKNOWN', message);
  }
  const malformed = mismatch(operation, OPERATION_SHAPES[operation.type], operation.type);
  if (malformed !== undefined) throw new TidemarkError(code, malformed);
}
