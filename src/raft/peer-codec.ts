/**
 * Peer frames: one format byte and a msgpack list of messages, each a list that begins with its kind. Entries
 * travel as the records that the leader made. Everything is checked on arrival: a peer of another version or
 * a damaged frame is told apart from consensus before it can reach the core.
 */
import { crc32 } from 'node:zlib';
import {
  TERM_MAX,
  TidemarkError,
  assertNever,
  decode,
  isErrorCode,
  logIndex,
  term as makeTerm,
  type ErrorCode,
  type LogIndex,
  type Term,
} from '../base/index.ts';
import type { Append, Message } from './core/index.ts';
import { decodeConfiguration, encodeConfiguration } from './configuration.ts';
import { parseEntry, type Entry } from './entry.ts';
import { sizeOf, write, type Item } from './frame-writer.ts';
import type { Configuration } from './types.ts';

const FRAME_FORMAT = 2;

const KINDS = {
  'pre-vote': 1,
  'pre-vote-reply': 2,
  vote: 3,
  'vote-reply': 4,
  append: 5,
  'append-reply': 6,
  heartbeat: 7,
  'heartbeat-reply': 8,
  'timeout-now': 9,
  'snapshot-chunk': 10,
  'snapshot-reply': 11,
  'read-request': 12,
  'read-answer': 13,
  removed: 14,
  'state-lost': 15,
} as const satisfies Record<Message['type'], number>;

const NAMES = new Map<unknown, Message['type']>(
  Object.entries(KINDS).map(([name, kind]) => [kind, name as Message['type']]),
);

export function encodeFrame(messages: readonly Message[]): Uint8Array {
  const lists = messages.map(toList);
  const frame = Buffer.allocUnsafe(1 + sizeOf(lists));
  frame[0] = FRAME_FORMAT;
  return new Uint8Array(frame.buffer, frame.byteOffset, write(frame, lists, 1));
}

/** @throws TidemarkError `FORMAT_UNKNOWN` or `DATA_CORRUPT`; then nothing of the frame is to be used. */
export function decodeFrame(frame: Uint8Array): readonly Message[] {
  const value = decode(FRAME_FORMAT, frame, 'a peer frame');
  if (!Array.isArray(value)) throw new TidemarkError('DATA_CORRUPT', 'a peer frame is not a list');
  return value.map(fromList);
}

function toList(message: Message): readonly Item[] {
  const head = [KINDS[message.type], message.term];
  switch (message.type) {
    case 'pre-vote':
      return [...head, message.lastIndex, message.lastTerm];
    case 'vote':
      return [...head, message.lastIndex, message.lastTerm, message.transfer];
    case 'pre-vote-reply':
    case 'vote-reply':
      return [...head, message.granted];
    case 'append': {
      const records = message.entries.map((entry) => entry.record);
      return [...head, message.prevIndex, message.prevTerm, message.commit, records];
    }
    case 'append-reply':
      return [...head, message.accepted, message.index, message.hintIndex, message.hintTerm];
    case 'heartbeat':
      return [...head, message.commit, message.round];
    case 'heartbeat-reply':
      return [...head, message.round];
    case 'timeout-now':
    case 'removed':
      return head;
    case 'snapshot-chunk': {
      const { stream, lastIndex, lastTerm, configuration, offset, end, data } = message;
      const members = [configuration.index, encodeConfiguration(configuration)];
      return [...head, stream, lastIndex, lastTerm, ...members, offset, end, crc32(data), data];
    }
    case 'snapshot-reply':
      if (message.refused === undefined) return [...head, message.stream, message.offset];
      return [...head, message.stream, message.offset, Buffer.from(message.refused)];
    case 'state-lost':
      return [...head, message.index];
    case 'read-request':
      return [...head, message.start, message.id];
    case 'read-answer':
      return [...head, message.start, message.id, message.index];
    default:
      return assertNever(message, 'message to encode');
  }
}

function fromList(value: unknown): Message {
  const fields = new Fields(value);
  const type = NAMES.get(fields.any());
  const term = fields.term();
  switch (type) {
    case 'pre-vote':
      return { type, term, lastIndex: fields.index(), lastTerm: fields.term() };
    case 'vote':
      return { type, term, lastIndex: fields.index(), lastTerm: fields.term(), transfer: fields.flag() };
    case 'pre-vote-reply':
    case 'vote-reply':
      return { type, term, granted: fields.flag() };
    case 'append':
      return appendOf(term, fields);
    case 'append-reply':
      return {
        type,
        term,
        accepted: fields.flag(),
        index: fields.index(),
        hintIndex: fields.index(),
        hintTerm: fields.term(),
      };
    case 'heartbeat':
      return { type, term, commit: fields.index(), round: fields.number() };
    case 'heartbeat-reply':
      return { type, term, round: fields.number() };
    case 'timeout-now':
    case 'removed':
      return { type, term };
    case 'snapshot-chunk':
      return {
        type,
        term,
        stream: fields.number(),
        lastIndex: fields.index(),
        lastTerm: fields.term(),
        configuration: fields.configuration(),
        offset: fields.number(),
        end: fields.flag(),
        data: fields.checkedBytes(),
      };
    case 'snapshot-reply':
      return { type, term, stream: fields.number(), offset: fields.number(), refused: fields.code() };
    case 'state-lost':
      return { type, term, index: fields.index() };
    case 'read-request':
      return { type, term, start: fields.number(), id: fields.number() };
    case 'read-answer':
      return { type, term, start: fields.number(), id: fields.number(), index: fields.index() };
    case undefined:
      throw new TidemarkError('FORMAT_UNKNOWN', 'a peer sent a message of a kind that is not known');
    default:
      return assertNever(type, 'message to decode');
  }
}

function appendOf(term: Term, fields: Fields): Append {
  const prevIndex = fields.index();
  const prevTerm = fields.term();
  const commit = fields.index();
  const entries = fields.records();
  let index: number = prevIndex;
  let last: number = prevTerm;
  for (const entry of entries) {
    index++;
    if (entry.index !== index || entry.prevTerm !== last || entry.term > term) {
      throw new TidemarkError('DATA_CORRUPT', `an append holds entry ${entry.index} where ${index} belongs`);
    }
    last = entry.term;
  }
  return { type: 'append', term, prevIndex, prevTerm, commit, entries };
}

/** Takes the fields of a message one after another and checks each. */
class Fields {
  readonly #values: readonly unknown[];
  #at = 0;

  constructor(values: unknown) {
    if (!Array.isArray(values)) throw new TidemarkError('DATA_CORRUPT', 'a peer message is not a list');
    this.#values = values;
  }

  any(): unknown {
    return this.#values[this.#at++];
  }

  number(): number {
    const value = this.any();
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw new TidemarkError('DATA_CORRUPT', 'a peer message holds a bad number');
  }

  index(): LogIndex {
    return logIndex(this.number());
  }

  term(): Term {
    const value = this.number();
    if (value > TERM_MAX) throw new TidemarkError('DATA_CORRUPT', `a peer speaks of term ${value}`);
    return makeTerm(value);
  }

  /** The code of an error, if there is one; a peer of a later version may have others than we. */
  code(): ErrorCode | undefined {
    const value = this.any();
    if (value === undefined) return undefined;
    if (!(value instanceof Uint8Array)) throw new TidemarkError('DATA_CORRUPT', 'a peer sent a bad code');
    const code = Buffer.from(value).toString();
    return isErrorCode(code) ? code : 'FORMAT_UNKNOWN';
  }

  flag(): boolean {
    const value = this.any();
    if (typeof value === 'boolean') return value;
    throw new TidemarkError('DATA_CORRUPT', 'a peer message holds a bad flag');
  }

  configuration(): Configuration {
    const index = this.index();
    const value = this.any();
    if (value instanceof Uint8Array) return decodeConfiguration(value, index);
    throw new TidemarkError('DATA_CORRUPT', 'a piece of a snapshot names no members');
  }

  /** A checksum, then the bytes that it is of. */
  checkedBytes(): Uint8Array {
    const sum = this.number();
    const value = this.any();
    if (value instanceof Uint8Array && crc32(value) === sum) return value;
    throw new TidemarkError('DATA_CORRUPT', 'a piece of a snapshot does not match its checksum');
  }

  records(): readonly Entry[] {
    const values = this.any();
    if (!Array.isArray(values)) throw new TidemarkError('DATA_CORRUPT', 'a peer message holds no entries');
    return values.map((value: unknown) => {
      if (value instanceof Uint8Array) return parseEntry(value);
      throw new TidemarkError('DATA_CORRUPT', 'a peer message holds a bad entry');
    });
  }
}
