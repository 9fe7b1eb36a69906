import { describe, expect, it } from 'vitest';
import { preview } from '../../src/coordinator/clients/preview.ts';
import type { DeclareJob } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { jobOf, runningWorld } from '../statemachine/support/world.ts';

const sealed = jobOf({ shop: ['sales', 'returns'], other: ['visits'] });
const paused: DeclareJob = {
  ...sealed,
  reports: sealed.reports.map((report) => ({ ...report, paused: report.name === 'sales' })),
};
const changedSource: DeclareJob = {
  ...sealed,
  sources: sealed.sources.map((source) => ({ ...source, captured: ['there', 'orders'] })),
};

describe('a dry run', () => {
  const jobs: [string, DeclareJob][] = [
    ['the same', sealed],
    ['a report is removed', jobOf({ shop: ['sales'], other: ['visits'] })],
    ['a report is added', jobOf({ shop: ['sales', 'returns', 'more'], other: ['visits'] })],
    ['a report is paused', paused],
    ['a sealed source is changed', changedSource],
    ['a sealed report moves', jobOf({ shop: ['sales'], other: ['visits', 'returns'] })],
  ];
  for (const [what, job] of jobs.slice(1)) {
    rule('coordinator.previewOfNothing', `answers what the log would answer: ${what}`, () => {
      const world = runningWorld(sealed);
      world.seal();
      const before = world.state.digest;
      const foretold = preview(world.state, job);
      expect(world.state.digest).toBe(before);
      expect(foretold).toEqual(world.apply(job));
    });
  }

  it('shows what is removed and what is paused, and that the same changes nothing', () => {
    const world = runningWorld(sealed);
    const told = jobs.slice(0, 4).map(([, job]) => preview(world.state, job));
    const value = (at: number): string => JSON.stringify(told[at]);
    expect(told[0]).toMatchObject({ ok: true, value: { changed: false } });
    expect(value(1)).toContain('removed');
    expect(told[3]).toMatchObject({ ok: true, value: { changed: true } });
  });
});
