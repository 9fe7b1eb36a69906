/**
 * One log entry and its record: the bytes that the leader makes once and that every log and every peer
 * frame carries unchanged. The checksum covers index, term and data, so that a record that was damaged or
 * put in another's place is noticed wherever it is read next.
 *
 * Record, big-endian: format (1 byte), CRC-32 of what follows (4), index (6), term (4), data.
 */
import { crc32 } from 'node:zlib';
import {
  TERM_MAX,
  TidemarkError,
  logIndex,
  term as makeTerm,
  type LogIndex,
  type Term,
} from '../base/index.ts';
import type { CommittedEntry } from './types.ts';

export const ENTRY_FORMAT = 1;
export const ENTRY_HEADER_BYTES = 15;

export interface Entry extends CommittedEntry {
  /** Format, checksum, index, term and data. `data` is a view of its end. */
  readonly record: Uint8Array;
}

/** Makes an entry and its record. Empty `data` is an entry of consensus itself. */
export function makeEntry(index: LogIndex, term: Term, data: Uint8Array): Entry {
  const record = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + data.length);
  record[0] = ENTRY_FORMAT;
  record.writeUIntBE(index, 5, 6);
  record.writeUInt32BE(term, 11);
  record.set(data, ENTRY_HEADER_BYTES);
  record.writeUInt32BE(crc32(record.subarray(5)), 1);
  return { index, term, data: record.subarray(ENTRY_HEADER_BYTES), record };
}

/**
 * Reads a record made by {@link makeEntry}.
 * @throws TidemarkError `FORMAT_UNKNOWN` for another format version, `DATA_CORRUPT` for a damaged record.
 */
export function parseEntry(bytes: Uint8Array): Entry {
  const record = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (record.length < ENTRY_HEADER_BYTES) throw new TidemarkError('DATA_CORRUPT', 'a log entry is cut off');
  if (record[0] !== ENTRY_FORMAT) {
    throw new TidemarkError(
      'FORMAT_UNKNOWN',
      `a log entry has format version ${record[0]}, not ${ENTRY_FORMAT}`,
    );
  }
  if (crc32(record.subarray(5)) !== record.readUInt32BE(1)) {
    throw new TidemarkError('DATA_CORRUPT', 'a log entry does not match its checksum');
  }
  const index = record.readUIntBE(5, 6);
  const term = record.readUInt32BE(11);
  if (index === 0 || term === 0 || term > TERM_MAX) {
    throw new TidemarkError('DATA_CORRUPT', `a log entry claims index ${index} and term ${term}`);
  }
  return { index: logIndex(index), term: makeTerm(term), data: record.subarray(ENTRY_HEADER_BYTES), record };
}
