/**
 * One log entry and its record: the bytes that the leader makes once and that every log and every peer frame
 * carries unchanged. The checksum covers the rest, so that a record that was damaged or put in another's
 * place is noticed wherever it is read next. Index and term name an entry for good (paper, section 5.3), so
 * the term of the entry before chains the log: a lost overwrite of an old entry breaks the chain.
 *
 * Record, big-endian: format (1 byte), CRC-32 of what follows (4), index (6), term (4), term before (4),
 * kind (1), content.
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
import { decodeConfiguration, encodeConfiguration, type NewConfiguration } from './configuration.ts';
import type { CommittedEntry, Configuration } from './types.ts';

export const ENTRY_FORMAT = 2;
export const ENTRY_HEADER_BYTES = 20;

const KIND_AT = 19;
const DATA = 1;
const NO_OP = 2;
const CONFIGURATION = 3;
const NOTHING = new Uint8Array(0);

/** An entry of data, or one of consensus itself: then `data` is empty. */
export interface Entry extends CommittedEntry {
  /** The term of the entry before this one, 0 before the first. */
  readonly prevTerm: Term;
  /** Who belongs to the cluster from this entry on, if it says so. */
  readonly configuration: Configuration | undefined;
  /** Format, checksum, index, term, kind and content. `data` is a view of its end. */
  readonly record: Uint8Array;
}

export interface EntryPlace {
  readonly index: LogIndex;
  readonly term: Term;
  readonly prevTerm: Term;
}

/** Makes an entry and its record. Empty `data` is a no-op. */
export function makeEntry(place: EntryPlace, data: Uint8Array): Entry {
  const record = makeRecord(place, data.length === 0 ? NO_OP : DATA, data);
  const { index, term, prevTerm } = place;
  const view = record.subarray(ENTRY_HEADER_BYTES);
  return { index, term, prevTerm, data: view, configuration: undefined, record };
}

/** Makes an entry that changes who belongs to the cluster. */
export function makeConfigurationEntry(place: EntryPlace, members: NewConfiguration): Entry {
  const { index, term, prevTerm } = place;
  const record = makeRecord(place, CONFIGURATION, encodeConfiguration(members));
  return { index, term, prevTerm, data: NOTHING, configuration: { ...members, index }, record };
}

function makeRecord({ index, term, prevTerm }: EntryPlace, kind: number, content: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + content.length);
  record[0] = ENTRY_FORMAT;
  record.writeUIntBE(index, 5, 6);
  record.writeUInt32BE(term, 11);
  record.writeUInt32BE(prevTerm, 15);
  record[KIND_AT] = kind;
  record.set(content, ENTRY_HEADER_BYTES);
  record.writeUInt32BE(crc32(record.subarray(5)), 1);
  return record;
}

/**
 * Reads a record made by {@link makeEntry} or {@link makeConfigurationEntry}.
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
  const kind = record[KIND_AT];
  const content = record.subarray(ENTRY_HEADER_BYTES);
  if (kind !== DATA && kind !== NO_OP && kind !== CONFIGURATION) {
    throw new TidemarkError('FORMAT_UNKNOWN', `a log entry is of a kind that is not known: ${kind}`);
  }
  if ((kind === NO_OP) !== (content.length === 0)) {
    throw new TidemarkError(
      'DATA_CORRUPT',
      `entry ${index} has ${content.length} bytes, which is not its kind`,
    );
  }
  const changes = kind === CONFIGURATION;
  // One literal, with the fields in the order of makeEntry: a spread is slow here.
  return {
    index: logIndex(index),
    term: makeTerm(term),
    prevTerm: makeTerm(prevTerm),
    data: changes ? NOTHING : content,
    configuration: changes ? decodeConfiguration(content, logIndex(index)) : undefined,
    record,
  };
}
