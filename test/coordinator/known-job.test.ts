import { expect } from 'vitest';
import { knownJob } from '../../src/coordinator/clients/known-job.ts';
import { jobOf, runningWorld } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';

rule(
  'coordinator.unpreparedReportKept',
  'an executor is told of prepared reports over sealed windows',
  () => {
    const job = jobOf({ shop: ['sales', 'returns'], other: ['visits'] });
    const world = runningWorld(job);
    expect(knownJob(world.state)).toEqual({ definitions: [], sources: [], reports: [] });
    world.seal();
    // Added behind a sealed window: its tables and copies are not made yet.
    world.accept(jobOf({ shop: ['sales', 'more'], other: ['visits'] }));
    const known = knownJob(world.state);
    expect(known).toMatchObject({ sources: [1n], reports: ['report/1/1'] });
    expect(known.definitions.map(({ id }) => id)).toEqual(['source/1', 'report/1/1']);
  },
);
