/** Snapshots of another cluster: what is in them, and how they become the state of a new one. */
import { TidemarkError } from '../base/index.ts';
import { PassingRows } from './passing-rows.ts';
import { KINDS, openChunk, sealHead } from './snapshot-chunk.ts';
import { readState } from './state-snapshots.ts';

export interface SnapshotContents {
  readonly clusterId: string;
  /** The last entry that the state holds. */
  readonly index: number;
  readonly term: number;
  /** 16 hex digits; equal to the sum of all rows. */
  readonly digest: string;
  /** Keys of clients. */
  readonly keys: number;
  readonly sources: number;
  readonly reports: number;
}

/**
 * Reads a whole snapshot and checks every row and their sum.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`.
 */
export async function inspectSnapshot(chunks: AsyncIterable<Uint8Array>): Promise<SnapshotContents> {
  const rows = new PassingRows();
  const { head } = await readState(chunks, undefined, rows);
  const { clusterId, appliedIndex: index, appliedTerm: term, digest } = head;
  const { sources, reports } = rows.others;
  return {
    clusterId,
    index,
    term,
    digest,
    keys: rows.keys,
    sources: sources.size,
    reports: reports.size,
  };
}

/**
 * Gives a snapshot another cluster's name; the rows and their digest stay, unread: whoever takes them checks.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN` if it does not begin with a head.
 */
export async function* snapshotAs(
  clusterId: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let first = true;
  for await (const chunk of chunks) {
    yield first ? renamed(clusterId, chunk) : chunk;
    first = false;
  }
}

function renamed(clusterId: string, bytes: Uint8Array): Uint8Array {
  const chunk = openChunk(bytes);
  if (chunk.kind === KINDS.head) return sealHead(chunk.part, { ...chunk.head, clusterId });
  throw new TidemarkError('DATA_CORRUPT', 'snapshot: it does not begin with a head');
}
