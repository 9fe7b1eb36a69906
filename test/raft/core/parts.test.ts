import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Durability } from '../../../src/raft/core/durability.ts';
import { TermRuns } from '../../../src/raft/core/term-runs.ts';
import { Quorum } from '../../../src/raft/core/quorum.ts';
import { configurationOf } from '../support/membership.ts';
import { I, M, T } from './harness.ts';

const risingTerms = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 30 }).map((steps) => {
  let term = 1;
  return steps.map((step) => (term += step));
});

describe('terms in runs', () => {
  test('answer as the list of all terms would', () => {
    fc.assert(
      fc.property(risingTerms, fc.nat(35), fc.nat(40), fc.nat(70), (terms, cut, index, atMost) => {
        const runs = new TermRuns();
        terms.forEach((term, at) => {
          runs.append(I(at + 1), T(term));
        });
        const kept = cut >= 1 && cut <= terms.length ? terms.slice(0, cut - 1) : terms;
        if (kept !== terms) runs.truncate(I(cut));
        const all = [0, ...kept];
        expect([runs.lastIndex, runs.lastTerm]).toEqual([kept.length, all.at(-1)]);
        expect(runs.termAt(I(index))).toBe(all[index]);
        let found = Math.min(index, kept.length);
        while ((all[found] ?? 0) > atMost) found--;
        expect(runs.lastAtMost(I(index), T(atMost))).toBe(found);
      }),
    );
  });
});

describe('durability', () => {
  test('vouches for an entry only when no outstanding write touches it or one before it [R26]', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('write' as const),
        keep: fc.nat(10),
        add: fc.integer({ min: 1, max: 4 }),
      }),
      fc.record({ kind: fc.constant('done' as const), keep: fc.nat(3), add: fc.nat(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        // The model: logs as lists of unique names, on disk and in memory, and writes as whole logs.
        let memory: number[] = [];
        let disk: number[] = [];
        let name = 0;
        const waiting: { readonly sequence: number; readonly log: number[] }[] = [];
        const durability = new Durability(I(0));
        for (const { kind, keep, add } of steps) {
          if (kind === 'write') {
            const from = Math.min(keep, memory.length);
            memory = [...memory.slice(0, from), ...Array.from({ length: add }, () => name++)];
            waiting.push({ sequence: durability.issue(I(from + 1), false), log: memory });
          } else {
            const done = waiting.splice(0, keep + 1).at(-1);
            if (done === undefined) continue;
            disk = done.log;
            durability.complete(done.sequence, I(memory.length));
          }
          const claimed = memory.slice(0, durability.durableIndex);
          expect(disk.slice(0, claimed.length)).toEqual(claimed);
          if (waiting.length === 0) expect(durability.durableIndex).toBe(memory.length);
        }
      }),
    );
  });

  test('of the hard state ends with its last write', () => {
    const durability = new Durability(I(0));
    const first = durability.issue(undefined, true);
    const second = durability.issue(undefined, true);
    durability.complete(first, I(0));
    expect(durability.hardStateDurable).toBe(false);
    durability.complete(second, I(0));
    expect(durability.hardStateDurable).toBe(true);
  });
});

describe('quorums', () => {
  test.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [5, 3],
    [7, 4],
  ])('of %i voters are %i', (size, majority) => {
    const all = Array.from({ length: size }, (_, at) => at + 1);
    const voters = new Quorum(configurationOf({ voters: all }));
    expect(voters.reached(M(1), (id) => id * 10)).toBe((size - majority + 1) * 10);
    const votes = new Map(voters.voters.slice(0, majority).map((id) => [id, true]));
    expect(voters.outcome(votes)).toBe('won');
    votes.delete(voters.voters[0] ?? M(1));
    expect(voters.outcome(votes)).toBe('open');
    const refusals = new Map(voters.voters.slice(0, size - majority + 1).map((id) => [id, false]));
    expect(voters.outcome(refusals)).toBe('lost');
  });
});
