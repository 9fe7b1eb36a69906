/**
 * Keys and values of the log's database. Every value begins with a format version and carries a checksum,
 * because LevelDB does not check its own (design, section 3).
 *
 *   e + index (8 bytes, big-endian)  a log entry: the record of entry.ts
 *   h                                the hard state, and where the log ends
 *   m                                whose log this is
 *   s                                who belonged to the cluster where the log begins
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
import { decodeConfiguration, encodeConfiguration } from '../configuration.ts';
import type { HardState, LogBase, LogStart } from '../core/index.ts';
import type { Configuration } from '../types.ts';

const LOG_FORMAT = 2;
const CHECKSUM_BYTES = 4;

export const HARD_STATE_KEY = Buffer.from('h');
export const IDENTITY_KEY = Buffer.from('m');
export const START_KEY = Buffer.from('s');
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
  /** What was compacted away ends here. */
  readonly base: LogBase;
  /** Counts the writes of this log's life; see witness.ts. */
  readonly writes: number;
}

/** Written when the log's base moves or a snapshot is about to be installed, with the hard state. */
export interface StoredStart {
  /** Of the base that `configuration` belongs to. */
  readonly index: LogIndex;
  /** In force at the base; undefined while that is the one before the first entry. */
  readonly configuration: Configuration | undefined;
  /** Where the log will begin if the state says that it was installed from a snapshot of this entry. */
  readonly incoming: LogStart | undefined;
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
    base: { index: logIndex(numberOf(fields, 'baseIndex')), term: makeTerm(numberOf(fields, 'baseTerm')) },
    writes: numberOf(fields, 'writes'),
  };
}

export function encodeStart({ index, configuration, incoming }: StoredStart): Uint8Array {
  const members = configuration === undefined ? null : membersOf(configuration);
  if (incoming === undefined) return seal({ index, members, incoming: null });
  const expected = [incoming.index, incoming.term, ...membersOf(incoming.configuration)];
  return seal({ index, members, incoming: expected });
}

export function decodeStart(bytes: Uint8Array): StoredStart {
  const { index, members, incoming } = unseal(bytes, 'the start of the log');
  return {
    index: logIndex(numberOf({ index }, 'index')),
    configuration: members === null ? undefined : decodeMembers(members),
    incoming: incoming === null ? undefined : decodeIncoming(incoming),
  };
}

/** The entry that made a configuration, and what that says. */
function membersOf(configuration: Configuration): readonly [number, Uint8Array] {
  return [configuration.index, encodeConfiguration(configuration)];
}

function decodeMembers(value: unknown): Configuration {
  const [index, bytes] = listOf(value);
  if (!(bytes instanceof Uint8Array)) throw new TidemarkError('DATA_CORRUPT', 'members are not bytes');
  return decodeConfiguration(bytes, logIndex(numberOf({ index }, 'index')));
}

function decodeIncoming(value: unknown): LogStart {
  const [index, term, ...members] = listOf(value);
  return {
    index: logIndex(numberOf({ index }, 'index')),
    term: makeTerm(numberOf({ term }, 'term')),
    configuration: decodeMembers(members),
  };
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new TidemarkError('DATA_CORRUPT', 'the start of the log is not a list');
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
