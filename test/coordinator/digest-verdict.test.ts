import { describe, expect, it } from 'vitest';
import { judgeDigests, type DigestReport } from '../../src/coordinator/digest-verdict.ts';

const report = (...values: readonly (readonly [number, string])[]): DigestReport =>
  values.map(([index, digest]) => ({ index, digest }));

const judge = (own: DigestReport, others: readonly DigestReport[], voters = 3, ownVotes = true) =>
  judgeDigests(own, new Map(others.map((other, at) => [at + 2, other])), { voters, ownVotes });

describe('the verdict on digests', () => {
  it('is equal where nothing differs, or nothing can be compared', () => {
    expect(judge(report([7, 'a']), [report([7, 'a']), report([7, 'a'])])).toEqual({ kind: 'equal' });
    expect(judge(report([7, 'a']), [report([6, 'b']), []])).toEqual({ kind: 'equal' });
    expect(judge([], [report([7, 'a'])])).toEqual({ kind: 'equal' });
  });

  it('is wrong for one that differs from a majority of all voters', () => {
    expect(judge(report([7, 'b']), [report([7, 'a']), report([7, 'a'])])).toEqual({
      kind: 'wrong',
      index: 7,
      own: 'b',
      theirs: 'a',
    });
  });

  it('names the others where this member is of the majority', () => {
    const found = judge(report([7, 'a']), [report([7, 'b']), report([7, 'a'])]);
    expect(found).toEqual({ kind: 'others-wrong', index: 7, members: [2] });
  });

  it('is split where no value has a majority of all voters, also when some are silent', () => {
    expect(judge(report([7, 'a']), [report([7, 'b']), report([7, 'c'])])).toEqual({
      kind: 'split',
      index: 7,
    });
    expect(judge(report([7, 'a']), [report([7, 'b'])])).toEqual({ kind: 'split', index: 7 });
    expect(judge(report([7, 'a']), [report([7, 'a']), report([7, 'b'])], 5).kind).toBe('split');
  });

  it('leaves a learner out of the majority, and ends it where it differs from one', () => {
    expect(judge(report([7, 'b']), [report([7, 'b']), report([7, 'a'])], 3, false).kind).toBe('split');
    expect(judge(report([7, 'b']), [report([7, 'a']), report([7, 'a'])], 3, false).kind).toBe('wrong');
    expect(judge(report([7, 'b']), [report([7, 'b']), report([7, 'b'])], 3, false).kind).toBe('equal');
  });

  it('finds a difference at an older index, if only there both are known', () => {
    const own = report([4, 'a'], [9, 'x']);
    expect(judge(own, [report([4, 'b'], [8, 'y']), report([4, 'b'])])).toMatchObject({
      kind: 'wrong',
      index: 4,
    });
  });
});
