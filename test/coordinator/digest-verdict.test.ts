import { describe, expect, it } from 'vitest';
import { LIMITS, TidemarkError } from '../../src/base/index.ts';
import { judgeDigests, type DigestReport } from '../../src/coordinator/integrity/digest-verdict.ts';
import { DigestWatch } from '../../src/coordinator/integrity/digest-watch.ts';
import { createLogger } from '../../src/ops/index.ts';
import { VirtualClock } from '../scheduler/support/virtual-clock.ts';
import { rule } from '../support/rule.ts';

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

describe('a watch over digests, where two of three voters differ and the third is down', () => {
  /** What the others answer, round by round; `undefined`: no answer. Returns the verdicts that were told. */
  async function told(own: DigestReport, rounds: readonly (DigestReport | undefined)[][]): Promise<string[]> {
    const kinds: string[] = [];
    let round = 0;
    const clock = new VirtualClock();
    const watch = new DigestWatch({
      own: () => own,
      voters: () => [1, 2, 3],
      ownId: 1,
      ask: (member) => {
        const answer = rounds[round]?.[member - 2];
        if (answer !== undefined) return Promise.resolve(answer);
        return Promise.reject(new TidemarkError('NO_LEADER', 'no answer'));
      },
      clock,
      log: createLogger({ role: 'test', level: 'silent' }),
      onVerdict: ({ kind }) => kinds.push(kind),
      onFatal: (error) => kinds.push(String(error)),
    });
    watch.start();
    await clock.advance(0);
    for (round = 1; round < rounds.length; round++) await clock.advance(LIMITS.digestRoundMs);
    watch.stop();
    return kinds;
  }
  const differs = report([7, 'b']);

  rule('coordinator.splitForgotten', 'does not take silence for agreement', async () => {
    const behind = report([3, 'x']);
    expect(await told(report([7, 'a']), [[differs], [], [undefined, behind], [differs]])).toEqual(['split']);
  });

  it('ends the split when a majority is known to hold one value there', async () => {
    expect(await told(report([7, 'a']), [[differs], [], [undefined, report([7, 'a'])]])).toEqual([
      'split',
      'equal',
    ]);
    expect(await told(report([7, 'a']), [[differs], [differs, report([7, 'a'])]])).toEqual([
      'split',
      'others-wrong',
    ]);
    const wrong = await told(report([7, 'a']), [[differs], [differs, differs]]);
    expect(wrong.slice(0, 2)).toEqual(['split', 'wrong']);
  });
});
