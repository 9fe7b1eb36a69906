import { describe, expect } from 'vitest';
import type { ReconcileSink } from '../../src/statemachine/index.ts';
import { jobOf, reconciled } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { outcomeOf, startedLeader } from './support/leader.ts';

describe('a report whose tables are gone', () => {
  rule('sink.missingStopsSource', 'stops no other one of its source while they cannot be made', () => {
    const leader = startedLeader(jobOf({ shop: ['sales', 'returns'] }), 2);
    const { world, config } = leader;
    world.seal();
    leader.settle();
    for (const key of ['1/1/1/0', '2/1/1/0']) leader.round(outcomeOf(world.task(key)));
    const { epoch } = world.accept({ type: 'sink.grant', v: 1, sinkId: 1, executorId: 1 });
    const missing = [{ reportId: 1, generation: 1 }];
    world.accept({ ...(reconciled(1, String(epoch), ['1/1/1/0']) as ReconcileSink), missing });
    for (let tries = 1; tries <= 3; tries += 1) {
      const window = world.seal();
      leader.settle();
      leader.round(outcomeOf(world.task(`2/1/${window}/0`)));
      expect(world.task(`2/1/${window}/0`).state).toBe('DONE');
      expect(world.task('1/1/1/0').state).toBe('PARKED');
      const { token = '' } = world.report(1).change ?? {};
      const failure = { code: 'DB_FAILED', message: 'there is a table of that name' } as const;
      leader.round({ type: 'prepare-outcome', sourceId: 1, token, copies: [], ...failure });
      expect(world.report(1)).toMatchObject({ changeProblem: 'DB_FAILED: there is a table of that name' });
      leader.pass(config.parkBaseMs);
    }
    leader.settle();
    const { token = '' } = world.report(1).change ?? {};
    leader.round({ type: 'prepare-outcome', sourceId: 1, token, copies: [], code: '', message: '' });
    leader.settle();
    expect(world.report(1)).toMatchObject({ phase: 'live', generation: 1 });
    expect(world.task('1/1/1/0')).toMatchObject({ state: 'ASSIGNED', version: 2 });
    expect(world.task('1/1/2/0').state).toBe('ASSIGNED');
  });
});
