import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { orderedNumber, parseTaskKey, taskRowKey } from '../../src/statemachine/commands/keys.ts';
import { taskKey } from '../../src/statemachine/index.ts';
import { SortedTable } from '../../src/statemachine/sorted-table.ts';

describe('a sorted table', () => {
  it('shows what a map that is sorted afterwards shows', () => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 3_000 }).map(orderedNumber), put: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3_000, size: 'max' }), (steps) => {
        const table = new SortedTable<string>();
        const model = new Map<string, string>();
        for (const { key, put } of steps) {
          if (put) table.set(key, `row ${key}`);
          else table.delete(key);
          if (put) model.set(key, `row ${key}`);
          else model.delete(key);
        }
        const keys = [...model.keys()].sort();
        expect([...table.keys()]).toEqual(keys);
        expect([...table.values()]).toEqual(keys.map((key) => model.get(key)));
        expect([...table.valuesBack()].reverse()).toEqual([...table.values()]);
        for (const prefix of ['', 'a', 'c1', 'd20', 'd3000', 'z']) {
          const expected = keys.filter((key) => key.startsWith(prefix)).map((key) => model.get(key));
          expect([...table.withPrefix(prefix)]).toEqual(expected);
        }
        expect(table.size).toBe(model.size);
      }),
      { numRuns: 30, seed: 1 },
    );
  });
});

describe('keys', () => {
  const natural = fc.maxSafeNat();

  it('order numbers as numbers', () => {
    fc.assert(
      fc.property(natural, natural, (a, b) => {
        expect(orderedNumber(a) < orderedNumber(b)).toBe(a < b);
      }),
    );
    expect(orderedNumber(7) < orderedNumber(42)).toBe(true);
  });

  it('of tasks put the older window first, and are read back from their text', () => {
    const identity = fc.record({
      reportId: natural,
      generation: natural,
      firstWindow: natural,
      part: natural,
    });
    fc.assert(
      fc.property(identity, identity, (a, b) => {
        if (a.firstWindow < b.firstWindow) expect(taskRowKey(a) < taskRowKey(b)).toBe(true);
        expect(parseTaskKey(taskKey(a))).toEqual(a);
      }),
    );
    for (const text of ['', '1/2/3', '1/2/3/4/5', '01/1/1/1', '1/-1/1/1', 'a/b/c/d', `${2 ** 60}/1/1/1`]) {
      expect(parseTaskKey(text)).toBeUndefined();
    }
  });
});
