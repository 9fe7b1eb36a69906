import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KEY, REGISTER, judge, type Call, type RegisterInput } from './simulation/linearizability.ts';

type RegisterCall = Call<RegisterInput, string | boolean>;

const read = { type: 'read' } as const;
const write = (value: string): RegisterInput => ({ type: 'write', value });

/** `[input, begin, end, output]`; without an end the call never returned. */
function history(
  ...calls: readonly (readonly [RegisterInput, number, number?, (string | boolean)?])[]
): readonly RegisterCall[] {
  return calls.map(([input, begin, end, output]) => ({ key: 'a', input, begin, end, output }));
}

describe('histories that are known', () => {
  test.each([
    ['nothing', history()],
    ['a read after a write', history([write('x'), 1, 2, true], [read, 3, 4, 'x'])],
    ['reads during a write may differ', history([write('x'), 1, 6], [read, 2, 3, ''], [read, 4, 5, 'x'])],
    ['an unknown write that took effect late', history([write('x'), 1], [read, 2, 3, ''], [read, 4, 5, 'x'])],
    ['an unknown write without effect', history([write('x'), 1], [read, 2, 3, ''], [read, 4, 5, ''])],
    [
      'a swap that loses the race',
      history(
        [{ type: 'swap', from: '', to: 'x' }, 1, 4, true],
        [{ type: 'swap', from: '', to: 'y' }, 2, 3, false],
      ),
    ],
  ])('good: %s', (_name, calls) => {
    expect(judge(calls, REGISTER)).toBe('linearizable');
  });

  test.each([
    ['a stale read', history([write('x'), 1, 2, true], [read, 3, 4, ''])],
    ['a lost write', history([write('x'), 1, 2, true], [read, 3, 4, 'x'], [read, 5, 6, ''])],
    ['a value of nobody', history([write('x'), 1, 2, true], [read, 3, 4, 'y'])],
    ['a read that goes back', history([write('x'), 1, 8], [read, 2, 3, 'x'], [read, 4, 5, ''])],
    [
      'two swaps from one value',
      history(
        [{ type: 'swap', from: '', to: 'x' }, 1, 4, true],
        [{ type: 'swap', from: '', to: 'y' }, 2, 3, true],
      ),
    ],
  ])('bad: %s', (_name, calls) => {
    expect(judge(calls, REGISTER)).toBe('not linearizable');
  });
});

test('each key is judged apart', () => {
  const calls = history([write('x'), 1, 2, true], [read, 3, 4, '']);
  const apart = calls.map((call, at) => ({ ...call, key: `key ${at}` }));
  expect(judge(apart, REGISTER)).toBe('linearizable');
});

test('a search that is given up says unknown', () => {
  const calls = history([write('x'), 1, 2, true], [read, 3, 4, 'x']);
  expect(judge(calls, REGISTER, 1)).toBe('unknown');
});

test('a write of the value that stands may be needed later', () => {
  const calls: RegisterCall[] = [
    { key: 'a', input: write('y'), begin: 0, end: 1, output: true },
    { key: 'a', input: write('y'), begin: 2, end: 7, output: true },
    { key: 'a', input: write('x'), begin: 3, end: 4, output: true },
    { key: 'a', input: read, begin: 5, end: 6, output: 'y' },
  ];
  expect(judge(calls, REGISTER)).toBe('linearizable');
});

describe('a key', () => {
  const written = (value: string, previous: string, begin: number, expected?: string, applied = true) => ({
    key: 'a',
    input: { type: 'write' as const, value, expected },
    begin,
    end: begin + 1,
    output: { applied, previous },
  });

  test.each([
    ['written, deleted, made anew', [written('x', '', 0), written('', 'x', 2), written('y', '', 4)]],
    ['a compare that holds', [written('x', '', 0), written('y', 'x', 2, 'x')]],
    ['a compare that does not hold', [written('x', '', 0), written('y', 'x', 2, '', false)]],
  ])('good: %s', (_name, calls) => {
    expect(judge(calls, KEY)).toBe('linearizable');
  });

  test.each([
    ['a request that took effect twice', [written('x', '', 0), written('y', 'x', 2), written('z', 'x', 4)]],
    ['a compare that was ignored', [written('x', '', 0), written('y', 'x', 2, '')]],
    ['a compare that failed for no reason', [written('x', '', 0), written('y', 'x', 2, 'x', false)]],
  ])('bad: %s', (_name, calls) => {
    expect(judge(calls, KEY)).toBe('not linearizable');
  });
});

/** A register that is asked at one moment inside each call: right by construction. */
const rightHistory = fc
  .array(fc.record({ value: fc.option(fc.constantFrom('x', 'y', 'z')), at: fc.nat(100), wait: fc.nat(20) }), {
    minLength: 1,
    maxLength: 7,
  })
  .map((steps) => {
    let value = '';
    const ordered = steps
      .map((step, order) => ({ ...step, order }))
      .sort((a, b) => a.at - b.at || a.order - b.order);
    return ordered.map(({ value: written, at, wait, order }): RegisterCall => {
      const input = written === null ? read : write(written);
      if (written !== null) value = written;
      const moment = at + order / 10;
      return {
        key: 'a',
        input,
        begin: moment - wait,
        end: moment + wait,
        output: written === null ? value : true,
      };
    });
  });

/** Tries every order: what a judge of few calls can be judged by. */
function anyOrder(left: readonly RegisterCall[], value: string): boolean {
  if (left.length === 0) return true;
  const firstEnd = Math.min(...left.map(({ end }) => end ?? Infinity));
  return left.some((call) => {
    if (call.begin > firstEnd) return false;
    const after = REGISTER.step(value, call.input, call.output);
    return (
      after !== undefined &&
      anyOrder(
        left.filter((other) => other !== call),
        after,
      )
    );
  });
}

test('agrees with the search of every order, on right and on altered histories', () => {
  const altered = fc.tuple(rightHistory, fc.nat(), fc.constantFrom('', 'x', 'y', 'z'));
  fc.assert(
    fc.property(altered, ([calls, which, value]) => {
      const at = which % calls.length;
      const changed = calls.map((call, index) =>
        index === at && call.input.type === 'read' ? { ...call, output: value } : call,
      );
      expect(judge(changed, REGISTER) === 'linearizable').toBe(anyOrder(changed, ''));
    }),
    { numRuns: 300 },
  );
});
