/**
 * What the one bytes field of a key-value frame holds: a list of requests or of replies, each a flat list
 * that begins with its kind. Everything is checked on arrival.
 */
import { LIMITS, TidemarkError, decode, encode, type Encodable } from '../base/index.ts';

const FRAME_FORMAT = 1;
const WRITE = 1;
const READ = 2;
const FAILED = 3;

export type KeyValueRequest =
  | {
      readonly kind: 'write';
      readonly session: number;
      readonly sequence: number;
      /** The client has the answers of all its requests up to this sequence. */
      readonly acked: number;
      /** As `encodeWrites` of base made them. */
      readonly writes: Uint8Array;
    }
  | { readonly kind: 'read'; readonly id: number; readonly paths: readonly string[] };

/** A key as it was found; revision 0: there is none. */
export interface KeyValueFound {
  readonly value: Uint8Array;
  readonly revision: number;
  readonly version: number;
}

export type KeyValueReply =
  | { readonly kind: 'written'; readonly id: number; readonly results: Uint8Array }
  /** The first keys that were asked for: as many as one reply may hold, at least one. */
  | { readonly kind: 'found'; readonly id: number; readonly values: readonly KeyValueFound[] }
  | {
      readonly kind: 'failed';
      readonly of: KeyValueRequest['kind'];
      readonly id: number;
      readonly code: string;
      readonly message: string;
      /** Client address of the leader, '' if it is not known. */
      readonly leader: string;
    };

export function encodeKeyValueRequests(requests: readonly KeyValueRequest[]): Uint8Array {
  return encode(
    FRAME_FORMAT,
    requests.map((one) =>
      one.kind === 'write'
        ? [WRITE, one.session, one.sequence, one.acked, one.writes]
        : [READ, one.id, one.paths],
    ),
  );
}

/** @throws TidemarkError `BAD_REQUEST`, `FORMAT_UNKNOWN`. */
export function decodeKeyValueRequests(payload: Uint8Array): KeyValueRequest[] {
  return listOf(payload).map((item) => {
    if (item[0] === WRITE) {
      const [, session, sequence, acked, writes] = item;
      if (!(writes instanceof Uint8Array)) throw bad('batch');
      if (writes.length > LIMITS.keyValueBatchBytesMax) throw bad('batch: too long');
      return {
        kind: 'write',
        session: natural(session),
        sequence: natural(sequence),
        acked: natural(acked),
        writes,
      };
    }
    if (item[0] !== READ) throw bad('kind of request');
    const [, id, paths] = item;
    if (!Array.isArray(paths) || paths.length > LIMITS.keyValueWritesPerBatchMax) throw bad('list of keys');
    if (!paths.every((path) => typeof path === 'string') || paths.length === 0) throw bad('list of keys');
    return { kind: 'read', id: natural(id), paths };
  });
}

export function encodeKeyValueReplies(replies: readonly KeyValueReply[]): Uint8Array {
  return encode(FRAME_FORMAT, replies.map(replyList));
}

function replyList(reply: KeyValueReply): readonly Encodable[] {
  if (reply.kind === 'written') return [WRITE, reply.id, reply.results];
  if (reply.kind === 'failed') {
    const of = reply.of === 'write' ? WRITE : READ;
    return [FAILED, of, reply.id, reply.code, reply.message, reply.leader];
  }
  const values = reply.values.flatMap(({ value, revision, version }) => [value, revision, version]);
  return [READ, reply.id, values];
}

/** @throws TidemarkError `BAD_REQUEST`, `FORMAT_UNKNOWN`. */
export function decodeKeyValueReplies(payload: Uint8Array): KeyValueReply[] {
  return listOf(payload).map((item) => {
    if (item[0] === WRITE) {
      const [, id, results] = item;
      if (!(results instanceof Uint8Array)) throw bad('answers');
      return { kind: 'written', id: natural(id), results };
    }
    if (item[0] === READ) return { kind: 'found', id: natural(item[1]), values: valuesOf(item[2]) };
    if (item[0] !== FAILED) throw bad('kind of reply');
    const [, of, id, code, message, leader] = item;
    if (typeof code !== 'string' || typeof message !== 'string' || typeof leader !== 'string') {
      throw bad('failure');
    }
    return { kind: 'failed', of: of === WRITE ? 'write' : 'read', id: natural(id), code, message, leader };
  });
}

function valuesOf(list: unknown): KeyValueFound[] {
  if (!Array.isArray(list) || list.length === 0 || list.length % 3 !== 0) throw bad('list of values');
  const values: KeyValueFound[] = [];
  for (let i = 0; i < list.length; i += 3) {
    const value: unknown = list[i];
    if (!(value instanceof Uint8Array)) throw bad('value');
    values.push({ value, revision: natural(list[i + 1]), version: natural(list[i + 2]) });
  }
  return values;
}

function listOf(payload: Uint8Array): readonly (readonly unknown[])[] {
  const list = decode(FRAME_FORMAT, payload, 'a key-value frame');
  if (!Array.isArray(list) || !list.every((item) => Array.isArray(item))) throw bad('list');
  return list as unknown[][];
}

function natural(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw bad('number');
}

function bad(what: string): TidemarkError {
  return new TidemarkError('BAD_REQUEST', `a key-value frame holds a bad ${what}`);
}
