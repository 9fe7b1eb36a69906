import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memberId, term } from '../../../src/base/index.ts';
import type { DurableMessage, Envelope, Persist } from '../../../src/raft/core/index.ts';
import { WriteQueue } from '../../../src/raft/driver/write-queue.ts';
import { I, T, accepted, entriesOf } from '../core/harness.ts';

const reply = (at: number): readonly Envelope<DurableMessage>[] => [
  { to: memberId(2), message: { type: 'vote-reply', term: T(at), granted: true } },
];

/** Writes `log` the way the store does. */
function apply(disk: string[], log: Persist['log']): void {
  if (log === undefined) return;
  disk.length = log.from - 1;
  for (const { data } of log.entries) disk.push(Buffer.from(data).toString());
}

describe('writes', () => {
  test('gathered into one have the effect of each after the other', () => {
    const step = fc.record({ keep: fc.nat(12), terms: fc.integer({ min: 1, max: 3 }), begin: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const queue = new WriteQueue();
        const [wanted, disk]: [string[], string[]] = [[], []];
        let sequence = 0;
        for (const { keep, terms, begin } of steps) {
          sequence++;
          const from = Math.min(keep, wanted.length) + 1;
          const list = Array.from({ length: terms }, () => sequence);
          const log = { from: I(from), entries: entriesOf(list, from, 0) };
          apply(wanted, log);
          queue.add({ sequence, hardState: { term: term(sequence), vote: undefined }, log });
          if (!begin) continue;
          const next = queue.begin();
          apply(disk, next?.write.log);
          expect(next?.write.hardState?.term).toBe(sequence);
          queue.complete();
          expect(disk).toEqual(wanted);
        }
      }),
    );
  });

  test('are one at a time, and what promises durability waits for the last one asked for [R1 R25]', () => {
    const queue = new WriteQueue();
    expect(queue.addAfterDurable(reply(1))).toEqual(reply(1));
    queue.add({ sequence: 1, hardState: { term: term(1), vote: undefined }, log: undefined });
    const first = queue.begin();
    expect(queue.addAfterDurable(reply(2))).toEqual([]);
    queue.add({ sequence: 2, hardState: { term: term(2), vote: undefined }, log: undefined });
    expect(queue.addAfterDurable(reply(3))).toEqual([]);
    expect(queue.begin()).toBeUndefined();
    expect(first?.after).toEqual(reply(2));
    queue.complete();
    expect(queue.begin()).toMatchObject({ sequence: 2, after: reply(3) });
  });

  test('keep no promise of a term that ends in the same write: its entries may be replaced [R25]', () => {
    const queue = new WriteQueue();
    const log = { from: I(1), entries: entriesOf([1], 1, 0) };
    queue.add({ sequence: 1, hardState: { term: term(1), vote: undefined }, log });
    expect(queue.addAfterDurable(reply(1))).toEqual([]);
    queue.add({ sequence: 2, hardState: { term: term(2), vote: undefined }, log: undefined });
    expect(queue.addAfterDurable(reply(2))).toEqual([]);
    expect(queue.begin()?.after).toEqual(reply(2));
  });

  test('acknowledge once what becomes durable together; a refusal is never left out [R25]', () => {
    const ack = (at: number, index: number, ok = true): readonly Envelope<DurableMessage>[] => [
      { to: memberId(2), message: { ...accepted(at, index), accepted: ok } },
    ];
    const after = (...said: (readonly Envelope<DurableMessage>[])[]): unknown => {
      const queue = new WriteQueue();
      queue.add({ sequence: 1, hardState: { term: term(1), vote: undefined }, log: undefined });
      for (const one of said) queue.addAfterDurable(one);
      return queue.begin()?.after;
    };
    expect(after(ack(1, 4), ack(1, 5), ack(1, 9))).toEqual(ack(1, 9));
    expect(after(ack(1, 9), ack(1, 5))).toEqual([...ack(1, 9), ...ack(1, 5)]);
    expect(after(ack(1, 4), ack(1, 6, false), ack(1, 9))).toHaveLength(3);
    expect(after(ack(1, 4), ack(2, 5))).toHaveLength(2);
  });
});
