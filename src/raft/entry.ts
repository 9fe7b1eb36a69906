/**
 * One log entry and its record: the bytes that the leader makes once and that every log and every peer frame
 * carries unchanged. The checksum covers the rest, so that a record that was damaged or put in another's
 * place is noticed wherever it is read next. Index and term name an entry for good (paper, section 5.3), so
 * the term of the entry before chains the log: a lost overwrite of an old entry breaks the chain.
 *
 * Record, big-endian: format (1 byte), CRC-32 of what follows (4), index (6), term (4), term before (4),
 * data.
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
export const ENTRY_HEADER_BYTES = 19;

export interface Entry extends CommittedEntry {
  /** The term of the entry before this one, 0 before the first. */
  readonly prevTerm: Term;
  /** Format, checksum, index, term and data. `data` is a view of its end. */
  readonly record: Uint8Array;
}

export interface EntryPlace {
  readonly index: LogIndex;
  readonly term: Term;
  readonly prevTerm: Term;
}

/** Makes an entry and its record. Empty `data` is an entry of consensus itself. */
export function makeEntry({ index, term, prevTerm }: EntryPlace, data: Uint8Array): Entry {
  const record = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + data.length);
  record[0] = ENTRY_FORMAT;
  record.writeUIntBE(index, 5, 6);
  record.writeUInt32BE(term, 11);
  record.writeUInt32BE(prevTerm, 15);
  record.set(data, ENTRY_HEADER_BYTES);
  record.writeUInt32BE(crc32(record.subarray(5)), 1);
  return { index, term, prevTerm, data: record.subarray(ENTRY_HEADER_BYTES), record };
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
  const prevTerm = record.readUInt32BE(15);
  if (index === 0 || term === 0 || term > TERM_MAX || prevTerm > term) {
    throw new TidemarkError('DATA_CORRUPT', `a log entry claims index ${index} and term ${term}`);
  }
  return {
    index: logIndex(index),
    term: makeTerm(term),
    prevTerm: makeTerm(prevTerm),
    data: record.subarray(ENTRY_HEADER_BYTES),
    record,
  };
}
