import { expect } from 'vitest';
import { must } from '../../../src/base/index.ts';
import { rule } from '../../support/rule.ts';
import { memberOf } from '../support/membership.ts';
import { SHORT_LOGS, SmallCluster } from '../support/small-cluster.ts';

rule(
  'raft.stalledLeaderTold',
  'a leader that was stalled tells nobody that it leads, until it knows',
  async () => {
    const cluster = new SmallCluster(3, SHORT_LOGS);
    await cluster.startAll();
    const { id, driver } = await cluster.led();
    const told: boolean[] = [];
    cluster.onStatus = (from, { leading }) => {
      if (from === id) told.push(leading);
    };
    // The machine slept; what it does first is to tell of new members.
    cluster.wallJumpMs = 10_000;
    const { id: _id, ...newcomer } = memberOf(4);
    const change = must(driver, 'driver').changeMembership({ add: [newcomer] });
    expect(told).toEqual([false]);
    await cluster.until(() => told.includes(true));
    let done = false;
    void change.then(() => (done = true));
    await cluster.until(() => done);
  },
);
