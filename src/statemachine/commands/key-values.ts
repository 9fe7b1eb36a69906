/**
 * Keys and values of clients: put, compare-and-set and delete are one kind of write. Each write that changes
 * something takes the next revision, so that a compare can tell any two writes of a key apart, also when they
 * stand in one entry.
 */
import { decodeWrites, encodeWritten, isTidemarkError, LIMITS, mutated } from '../../base/index.ts';
import type { KeyValueWrite, KeyValueWritten } from '../../base/index.ts';
import type { OperationResult, WriteKeyValues } from './operations.ts';
import { accept, refuse } from './result.ts';
import type { StateWriter } from './writer.ts';

/** Applies a batch in order. It is refused as a whole if it is malformed or there is no room for it. */
export function applyWriteKeyValues(writer: StateWriter, input: WriteKeyValues): OperationResult {
  let writes: readonly KeyValueWrite[];
  try {
    writes = decodeWrites(input.writes);
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    return refuse('BAD_REQUEST', error.message);
  }
  const growing = writes.filter(({ value }) => value !== undefined);
  if (growing.length > 0 && !hasRoom(writer, growing)) {
    return refuse('STATE_FULL', `the keys fill ${writer.keyValueBytes} bytes; delete some first`);
  }
  const results: KeyValueWritten[] = [];
  let revision = writer.cluster.revision ?? 0;
  for (const write of writes) {
    const result = applyWrite(writer, write, revision + 1);
    if (result.applied && result.revision !== result.previous) revision += 1;
    results.push(result);
  }
  if (revision !== writer.cluster.revision) writer.setCluster({ ...writer.cluster, revision });
  return accept({ results: encodeWritten(results) });
}

/** Counts every write as new: the bound may be met a little early, never late. Deletes need no room. */
function hasRoom(writer: StateWriter, growing: readonly KeyValueWrite[]): boolean {
  if (writer.keyValues.size + growing.length > LIMITS.keyValueKeysMax) return false;
  let bytes = writer.keyValueBytes;
  for (const { path, value } of growing) bytes += path.length + (value?.length ?? 0);
  return bytes <= LIMITS.keyValueTableBytesMax;
}

function applyWrite(writer: StateWriter, write: KeyValueWrite, next: number): KeyValueWritten {
  const { path, value, expected } = write;
  const row = writer.keyValues.standing(path);
  const previous = row?.revision ?? 0;
  if (expected !== undefined && expected !== previous && !mutated('state.compareIgnored')) {
    return { applied: false, revision: previous, previous };
  }
  if (value === undefined) {
    writer.keyValues.delete(path);
    // A delete takes a revision too, if there was something to delete.
    return { applied: true, revision: 0, previous };
  }
  writer.keyValues.put(path, { value, revision: next, version: (row?.version ?? 0) + 1 });
  return { applied: true, revision: next, previous };
}
