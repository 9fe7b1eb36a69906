/** What a leader makes of what its executors find out about a report database. */
import { describe, expect } from 'vitest';
import { idKey } from '../../src/statemachine/index.ts';
import { jobOf } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { outcomeOf, startedLeader } from './support/leader.ts';

describe('a report database that has lost a table', () => {
  rule('scheduler.lossIsNoDoubt', 'is compared with the log; the task stays', () => {
    const leader = startedLeader(jobOf(), 2);
    leader.world.seal();
    leader.settle();
    const task = leader.world.task('1/1/1/0');
    leader.round(outcomeOf(task, { result: 'FAILED', code: 'SINK_LOSS', message: 'no table' }));
    expect(leader.world.task(task.key)).toMatchObject({ state: 'ASSIGNED', token: task.token });
    expect(leader.world.state.sinks.get(idKey(1))?.epoch).not.toBe(task.sinkEpoch);
  });
});
