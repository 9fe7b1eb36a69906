/**
 * What a run is worth: passed only if everything asked for was seen; a run in which nothing bit is unknown.
 */
import { describe, expect, it } from 'vitest';
import { newCounts, REQUIRED_EVENTS, requiredTimes, type ChaosCounts } from '../../src/dev/chaos/index.ts';
import { percentile } from '../../src/dev/freshness.ts';
import { makeReport, type RunFacts } from '../../src/dev/run-report.ts';

const everyEvent: ChaosCounts = {
  ...newCounts(),
  leaderChangesWithTasksInFlight: 1,
  fencedMerges: 1,
  collectorTakeoversWithUnsealedRows: 1,
  replacedContributions: 1,
};
const wrongCell = { report: 'r', key: 'k=1', column: 'c', expected: '1', actual: '2' };

const verified: RunFacts = {
  engine: 'embedded',
  seed: 1,
  rate: 100,
  loadMs: 1_000,
  load: { changes: 100, transactions: 10, rolledBack: 0, failed: 0 },
  freshnessMs: [800, 900],
  writesResumedMs: [400],
  firstMergedMs: 3_000,
  mergedWindows: 5,
  crashes: [],
  chaos: everyEvent,
  wanted: { verify: true },
  settled: { ok: true, tookMs: 10, windows: 5, problems: [] },
  verification: { reports: 10, rows: 10, cells: 30, wrong: [], empty: [] },
};
const { settled, verification, ...interrupted } = verified;

describe('the verdict', () => {
  it.each([
    ['all right', verified, 'passed', 0],
    ['without chaos', { ...verified, chaos: undefined }, 'passed', 0],
    ['one wrong cell', { ...verified, verification: { ...verification, wrong: [wrongCell] } }, 'failed', 1],
    [
      'a window that did not merge',
      { ...verified, settled: { ...settled, ok: false, problems: ['w'] } },
      'failed',
      1,
    ],
    ['a process that ended by itself', { ...verified, crashes: ['e1 (exit code 70)'] }, 'failed', 1],
    ['writes that resumed late', { ...verified, writesResumedMs: [2_001] }, 'failed', 1],
    ['writes that resumed just in time', { ...verified, writesResumedMs: [2_000] }, 'passed', 0],
    ['interrupted before the comparison', interrupted, 'unknown', 2],
    [
      'not to be verified',
      { ...interrupted, chaos: undefined, wanted: { verify: false } },
      'not verified',
      0,
    ],
    [
      'not to be verified, but a crash',
      { ...interrupted, wanted: { verify: false }, crashes: ['c1'] },
      'failed',
      1,
    ],
  ] as readonly (readonly [string, RunFacts, string, number])[])('%s', (_what, facts, verdict, exitCode) => {
    const report = makeReport(facts);
    expect(report.document).toMatchObject({ run: { verdict } });
    expect(report.text).toMatch(new RegExp(`^result +${verdict}`, 'm'));
    expect(report.exitCode).toBe(exitCode);
  });

  it.each(REQUIRED_EVENTS)('is unknown when there were no %s', (event) => {
    const report = makeReport({ ...verified, chaos: { ...everyEvent, [event]: 0 } });
    expect(report.document).toMatchObject({ run: { verdict: 'unknown', chaos: { missing: [event] } } });
    expect(report.exitCode).toBe(2);
  });

  it('is unknown when an event happened less than once per 30 s', () => {
    expect([29_999, 30_000, 59_999, 60_000].map(requiredTimes)).toEqual([1, 1, 1, 2]);
    const report = makeReport({ ...verified, chaos: { ...everyEvent, required: 2, fencedMerges: 2 } });
    expect(report.exitCode).toBe(2);
    expect(report.text).not.toMatch(/not often enough:.*fenced/);
  });

  it('is unknown when a report has no rows to compare', () => {
    const report = makeReport({ ...verified, verification: { ...verification!, empty: ['sales'] } });
    expect(report.exitCode).toBe(2);
    expect(report.text).toContain('rows in report sales');
  });

  it('shows a wrong cell with both values', () => {
    const report = makeReport({ ...verified, verification: { ...verification!, wrong: [wrongCell] } });
    expect(report.text).toContain('r k=1 c: expected 1, found 2');
  });
});

describe('percentile', () => {
  it.each([
    [[], 50, undefined],
    [[7], 99, 7],
    [[4, 1, 3, 2], 50, 3],
    [Array.from({ length: 200 }, (_, index) => index), 99, 198],
  ])('of %j at %i is %s', (samples, percent, expected) => {
    expect(percentile(samples, percent)).toBe(expected);
  });
});
