import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TERM_MAX, encode, isTidemarkError, logIndex, memberId, term } from '../../src/base/index.ts';
import type { Message } from '../../src/raft/core/index.ts';
import { makeEntry, parseEntry } from '../../src/raft/entry.ts';
import { checkHello, encodeHello } from '../../src/raft/grpc-transport/hello.ts';
import { decodeFrame, encodeFrame } from '../../src/raft/peer-codec.ts';
import { append, entriesOf } from './core/harness.ts';
import { CLUSTER } from './support/grpc-cluster.ts';
import { configurationOf } from './support/membership.ts';

const index = fc.integer({ min: 0, max: 2 ** 40 }).map(logIndex);
const terms = fc.integer({ min: 0, max: TERM_MAX }).map(term);
const flag = fc.boolean();
const round = fc.integer({ min: 0, max: 2 ** 50 });

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 3 });
const configurations = fc.tuple(index, ids, ids, ids).map(([at, voters, others, outgoing]) =>
  configurationOf({
    index: at,
    voters,
    outgoing,
    learners: others.filter((id) => ![...voters, ...outgoing].includes(id)),
  }),
);

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    type: fc.constant('pre-vote' as const),
    term: terms,
    lastIndex: index,
    lastTerm: terms,
  }),
  fc.record({
    type: fc.constant('vote' as const),
    term: terms,
    lastIndex: index,
    lastTerm: terms,
    transfer: flag,
  }),
  fc.record({ type: fc.constantFrom('timeout-now' as const, 'removed' as const), term: terms }),
  fc.record({
    type: fc.constant('snapshot-chunk' as const),
    term: terms,
    stream: round,
    lastIndex: index,
    lastTerm: terms,
    configuration: configurations,
    offset: round,
    end: flag,
    data: fc.uint8Array({ maxLength: 20 }),
  }),
  fc.record({ type: fc.constant('state-lost' as const), term: terms, index }),
  fc.record({
    type: fc.constant('snapshot-reply' as const),
    term: terms,
    stream: round,
    offset: round,
    refused: fc.constantFrom(undefined, 'DATA_CORRUPT' as const),
  }),
  fc.record({
    type: fc.constantFrom('pre-vote-reply' as const, 'vote-reply' as const),
    term: terms,
    granted: flag,
  }),
  fc.record({
    type: fc.constant('append-reply' as const),
    term: terms,
    accepted: flag,
    index,
    hintIndex: index,
    hintTerm: terms,
  }),
  fc.record({ type: fc.constant('heartbeat' as const), term: terms, commit: index, round }),
  fc.record({ type: fc.constant('heartbeat-reply' as const), term: terms, round }),
  fc.record({ type: fc.constant('read-request' as const), term: terms, start: round, id: round }),
  fc.record({ type: fc.constant('read-answer' as const), term: terms, start: round, id: round, index }),
  fc
    .array(fc.integer({ min: 3, max: 5 }), { maxLength: 5 })
    .map((list) => append(7, { prev: [9, 2], commit: 4, terms: list.sort() })),
);

const coded = (error: unknown): boolean => isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN');

describe('peer frames', () => {
  test('give back every message', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 4 }), (messages) => {
        expect(decodeFrame(encodeFrame(messages))).toEqual(messages);
      }),
    );
  });

  test('with a flipped bit are another frame or refused with a code, and entries are never altered', () => {
    const sent = [append(7, { prev: [9, 2], commit: 4, terms: [3, 3, 5] })];
    const frame = encodeFrame(sent);
    const records = new Set(sent[0]?.entries.map(({ record }) => Buffer.from(record).toString('hex')));
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const damaged = Uint8Array.from(frame);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      try {
        for (const received of decodeFrame(damaged)) {
          if (received.type !== 'append') continue;
          for (const { record } of received.entries)
            expect(records).toContain(Buffer.from(record).toString('hex'));
        }
      } catch (error) {
        expect(error).toSatisfy(coded);
      }
    }
  });

  test.each([
    ['no list', encode(2, 'hello')],
    ['a message that is no list', encode(2, [7])],
    ['an unknown kind', encode(2, [[99, 1]])],
    ['a term above its bound', encode(2, [[8, TERM_MAX + 1, 0]])],
    ['a missing field', encode(2, [[7, 1]])],
    ['a question for a read without its number', encode(2, [[12, 1, 4]])],
    ['a question for a read with a bad number', encode(2, [[12, 1, 4, -1]])],
    ['an answer to a read without its index', encode(2, [[13, 1, 4, 2]])],
    ['an answer to a read whose index is text', encode(2, [[13, 1, 4, 2, '9']])],
    ['a later format', encode(3, [])],
    [
      'an entry in another’s place',
      encode(2, [[5, 7, 8, 2, 0, entriesOf([3], 10, 2).map(({ record }) => record)]]),
    ],
  ])('with %s are refused with a code', (_what, frame) => {
    expect(() => decodeFrame(frame)).toThrow(expect.toSatisfy(coded));
  });
});

test('an entry of another format is refused, a damaged one told apart', () => {
  const { record } = makeEntry({ index: logIndex(1), term: term(1), prevTerm: term(0) }, Buffer.from('x'));
  const later = Uint8Array.from(record);
  later[0] = 9;
  expect(() => parseEntry(later)).toThrow(expect.objectContaining({ code: 'FORMAT_UNKNOWN' }));
  expect(() => parseEntry(record.subarray(0, 9))).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT' }));
});

describe('a hello', () => {
  const expected = {
    clusterId: CLUSTER,
    memberId: memberId(2),
    isMember: (id: number) => id <= 3,
    isRemoved: (id: number) => id === 3,
  };
  const hello = { clusterId: CLUSTER, from: memberId(1), to: memberId(2), incarnation: 'a' };

  test('of a member to this one is answered with its id', () => {
    expect(checkHello(encodeHello(hello), expected)).toMatchObject({ from: 1, lane: 'log' });
  });

  test('of a member that is not known yet is taken with the address that it names', () => {
    const later = encodeHello({ ...hello, from: memberId(9), address: 'peer-9:1', lane: 'bulk' });
    expect(checkHello(later, expected)).toMatchObject({ from: 9, lane: 'bulk', address: 'peer-9:1' });
  });

  test.each([
    ['of another cluster', { clusterId: 'ffffffffffffffffffffffffffffffff' }, 'CLUSTER_MISMATCH'],
    ['meant for another member', { to: 3 }, 'MEMBER_MISMATCH'],
    ['of a stranger without an address', { from: 9 }, 'MEMBER_MISMATCH'],
    ['of a member that was removed', { from: 3 }, 'MEMBER_REMOVED'],
    ['of this member itself', { from: 2 }, 'MEMBER_MISMATCH'],
  ])('%s is refused [R54]', (_what, change, code) => {
    const bytes = encode(1, { ...hello, ...change });
    expect(() => checkHello(bytes, expected)).toThrow(expect.objectContaining({ code }));
  });
});
