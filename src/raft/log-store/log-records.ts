/**
 * Keys and values of the log's database. Every value begins with a format version and carries a checksum,
 * because LevelDB does not check its own (design, section 3).
 *
 *   e + index (8 bytes, big-endian)  a log entry: the record of entry.ts
 *   h                                the hard state, and where the log ends
 *   m                                whose log this is
 *
 * The hard state is written with every batch: it says where the log ends, so that a lost last entry shows.
 */
import { crc32 } from 'node:zlib';
import {
  TidemarkError,
  clusterId as makeClusterId,
  decode,
  encode,
  logIndex,
  memberId as makeMemberId,
  term as makeTerm,
  type ClusterId,
  type Encodable,
  type LogIndex,
  type MemberId,
  type Term,
} from '../../base/index.ts';
import { EMPTY_BASE, type HardState, type LogBase } from '../core/index.ts';

const LOG_FORMAT = 1;
const CHECKSUM_BYTES = 4;

export const HARD_STATE_KEY = Buffer.from('h');
export const IDENTITY_KEY = Buffer.from('m');
/** Entries lie between these two. */
export const ENTRIES = { gte: Buffer.from('e'), lt: Buffer.from('f') };
export const EVERYTHING = { gte: Buffer.alloc(1, 0), lt: Buffer.alloc(1, 0xff) };

export interface LogIdentity {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
}

export interface StoredHardState extends HardState {
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** What was compacted away ends here. Absent in logs of version 0.1, which are whole. */
  readonly base: LogBase;
  /** Counts the writes of this log's life; see witness.ts. */
  readonly writes: number;
}

export function entryKey(index: LogIndex): Uint8Array {
  const key = Buffer.allocUnsafe(9);
  key[0] = 0x65;
  key.writeUInt16BE(0, 1);
  key.writeUIntBE(index, 3, 6);
  return key;
}

export function encodeHardState(state: StoredHardState): Uint8Array {
  const { term, vote, lastIndex, lastTerm, base, writes } = state;
  const { index: baseIndex, term: baseTerm } = base;
  return seal({ term, vote: vote ?? null, lastIndex, lastTerm, baseIndex, baseTerm, writes });
}

export function decodeHardState(bytes: Uint8Array): StoredHardState {
  const fields = unseal(bytes, 'the hard state');
  const vote = fields['vote'];
  return {
    term: makeTerm(numberOf(fields, 'term')),
    vote: vote === null ? undefined : makeMemberId(numberOf(fields, 'vote')),
    lastIndex: logIndex(numberOf(fields, 'lastIndex')),
    lastTerm: makeTerm(numberOf(fields, 'lastTerm')),
    base: decodeBase(fields),
    writes: numberOf(fields, 'writes'),
  };
}

function decodeBase(fields: Record<string, unknown>): LogBase {
  if (fields['baseIndex'] === undefined) return EMPTY_BASE;
  return { index: logIndex(numberOf(fields, 'baseIndex')), term: makeTerm(numberOf(fields, 'baseTerm')) };
}

export function encodeIdentity(identity: LogIdentity): Uint8Array {
  return seal({ clusterId: identity.clusterId, memberId: identity.memberId });
}

export function decodeIdentity(bytes: Uint8Array): LogIdentity {
  const fields = unseal(bytes, 'the identity of the log');
  const cluster = fields['clusterId'];
  if (typeof cluster !== 'string') throw new TidemarkError('DATA_CORRUPT', 'the log names no cluster');
  return { clusterId: makeClusterId(cluster), memberId: makeMemberId(numberOf(fields, 'memberId')) };
}

/** Format and msgpack as everywhere, and the checksum of both at the end. */
function seal(fields: { readonly [key: string]: Encodable }): Uint8Array {
  const body = encode(LOG_FORMAT, fields);
  const sealed = Buffer.allocUnsafe(body.length + CHECKSUM_BYTES);
  sealed.set(body);
  sealed.writeUInt32BE(crc32(body), body.length);
  return sealed;
}

function unseal(bytes: Uint8Array, what: string): Record<string, unknown> {
  const sealed = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = sealed.length - CHECKSUM_BYTES;
  if (end < 1) throw new TidemarkError('DATA_CORRUPT', `${what} is cut off`);
  const body = sealed.subarray(0, end);
  // Another version may seal otherwise: its format is told apart before its checksum is.
  if (body[0] !== LOG_FORMAT) decode(LOG_FORMAT, body, what);
  if (crc32(body) !== sealed.readUInt32BE(end)) {
    throw new TidemarkError('DATA_CORRUPT', `${what} does not match its checksum`);
  }
  const value = decode(LOG_FORMAT, body, what);
  if (typeof value !== 'object' || value === null)
    throw new TidemarkError('DATA_CORRUPT', `${what}: no fields`);
  return value as Record<string, unknown>;
}

function numberOf(fields: Record<string, unknown>, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TidemarkError('DATA_CORRUPT', `${name} is not a number`);
}
