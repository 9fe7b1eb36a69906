import { describe, expect, it } from 'vitest';
import type { Plan } from '../../src/scheduler/planner/types.ts';
import { taskTimeMs } from '../../src/scheduler/index.ts';
import { jobOf, sealOf } from '../statemachine/support/world.ts';
import { rule } from '../support/rule.ts';
import { outcomeOf, startedLeader } from './support/leader.ts';

const causes = (planned: Plan): string[] => planned.operations.map(({ cause }) => cause);

describe('a task whose SQL is too slow', () => {
  function slowTask() {
    const leader = startedLeader(jobOf(), 2);
    leader.world.seal();
    leader.settle();
    const task = () => leader.world.task('1/1/1/0');
    const fail = (code: 'SQL_TOO_SLOW' | 'DB_BUSY' = 'SQL_TOO_SLOW') =>
      leader.round(outcomeOf(task(), { result: 'FAILED', code, message: 'why' }));
    const wake = (): void => {
      leader.pass(task().wakeAtMs - leader.world.logTimeMs);
      leader.round();
      leader.settle();
    };
    return { leader, task, fail, wake };
  }

  rule('scheduler.slowForEver', 'is tried elsewhere and later, and leaves a hole at last', () => {
    const { leader, task, fail, wake } = slowTask();
    for (const cause of ['failed', 'failed', 'parked', 'parked', 'parked']) {
      expect(causes(fail())).toEqual([cause]);
      expect(task().reason).toBe('SQL_TOO_SLOW: why');
      if (cause === 'parked') wake();
      else leader.settle();
    }
    expect(causes(fail())).toEqual(['dead']);
    expect(task()).toMatchObject({ purpose: 'DEAD', state: 'ASSIGNED', reason: 'SQL_TOO_SLOW: why' });
    leader.settle();
    leader.round(outcomeOf(task(), { result: 'RETRACTED' }));
    expect(task()).toMatchObject({ state: 'DEAD', hole: true });
  });

  it('goes on being tried while it fails for other reasons', () => {
    const { leader, task, fail, wake } = slowTask();
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      fail('DB_BUSY');
      if (task().state === 'PARKED') wake();
      else leader.settle();
    }
    expect(task()).toMatchObject({ purpose: 'merge', attempts: 8 });
  });

  it('has more time with each try, and for large windows', () => {
    const { leader, task, fail } = slowTask();
    const { world, config } = leader;
    const timeOf = (): number => taskTimeMs(config, world.state, task());
    expect(timeOf()).toBe(config.taskDeadlineMs);
    expect(taskTimeMs(config, world.state, task(), 5_000)).toBe(
      config.taskDeadlineMs + 5 * config.taskThousandRowsMs,
    );
    fail();
    expect(timeOf()).toBe(2 * config.taskDeadlineMs);
    const many = [{ shard: 's1', rows: 40_000, checksum: '00' }];
    world.accept(sealOf(world.source(), 2, { shards: many }));
    leader.settle();
    expect(taskTimeMs(config, world.state, world.task('1/1/2/0'))).toBe(
      config.taskDeadlineMs + 40 * config.taskThousandRowsMs,
    );
  });
});
