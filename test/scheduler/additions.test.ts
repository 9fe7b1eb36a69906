import { describe, expect } from 'vitest';
import type { PrepareOutcome } from '../../src/scheduler/planner/types.ts';
import { openPrepare, type DeclareJob } from '../../src/statemachine/index.ts';
import { jobOf } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { outcomeOf, startedLeader, type Leader } from './support/leader.ts';

const job = jobOf();
const more: DeclareJob = {
  ...job,
  sources: job.sources.map((source) => ({
    ...source,
    spec: '{"more":1}',
    captured: [...source.captured, 'lines'],
    begins: [...source.begins, 'at lines'],
  })),
};

const ended = (leader: Leader, code: 'DB_FAILED' | ''): PrepareOutcome => {
  const { token = '' } = openPrepare(leader.world.source()) ?? {};
  return { type: 'prepare-outcome', sourceId: 1, token, copies: [], code, message: 'm' };
};

describe('tables that are added and cannot be prepared', () => {
  rule('state.addedTablesAtOnce', 'stop neither the tasks of their source nor its collector', () => {
    const leader = startedLeader(job, 2);
    leader.world.seal();
    leader.settle();
    leader.world.accept(more);
    const { epoch, executorId = 0 } = leader.world.source().collector ?? {};
    for (let tries = 1; tries <= 8; tries += 1) {
      leader.settle();
      const { executorId: preparing } = openPrepare(leader.world.source()) ?? {};
      leader.round(ended(leader, 'DB_FAILED'));
      leader.settle();
      expect(openPrepare(leader.world.source())).toBeNull();
      expect(leader.world.source().addition).toMatchObject({ attempts: tries, failedExecutorId: preparing });
      // It comes again later and later, although windows are sealed meanwhile.
      const { sourceRetryBaseMs, sourceRetryCapMs } = leader.config;
      const waitMs = Math.min(sourceRetryBaseMs * 2 ** (tries - 1), sourceRetryCapMs);
      leader.pass(waitMs - 1);
      leader.settle();
      expect(openPrepare(leader.world.source())).toBeNull();
      const window = leader.world.seal();
      leader.settle();
      leader.round(outcomeOf(leader.world.task(`1/1/${window}/0`)));
      expect(leader.world.task(`1/1/${window}/0`).state).toBe('DONE');
      leader.pass(1);
    }
    expect(leader.world.source().collector).toMatchObject({ epoch, executorId });

    // A collector that is gone is followed by one of what is captured.
    leader.hear(executorId, { connected: false });
    leader.pass(leader.config.sessionMs, [3 - executorId]);
    leader.settle();
    const later = leader.world.source().collector;
    expect(later?.executorId).toBe(3 - executorId);
    leader.world.seal();

    leader.pass(leader.config.sourceRetryCapMs, [3 - executorId]);
    leader.settle();
    leader.round(ended(leader, ''));
    leader.settle();
    expect(leader.world.source()).toMatchObject({ spec: '{"more":1}', addition: null });
    expect(leader.world.source().collector?.epoch).not.toBe(later?.epoch);
  });
});
