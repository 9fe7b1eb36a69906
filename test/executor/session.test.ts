import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import type { Incoming } from '../../src/executor/session/protocol.ts';
import { Session } from '../../src/executor/session/session.ts';
import { insecureCredentials, PrepareStep } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { CLUSTER, FakeLeader, type FakeLeaderOptions } from './fake-leader.ts';

const closers: (() => Promise<void> | void)[] = [];

async function leader(options?: FakeLeaderOptions): Promise<FakeLeader> {
  const made = await FakeLeader.start(options);
  closers.push(() => {
    made.stop();
  });
  return made;
}

interface Running {
  readonly session: Session;
  readonly messages: Incoming[];
  readonly warnings: string[];
  stop(): Promise<void>;
}

function join(coordinators: readonly string[]): Running {
  const messages: Incoming[] = [];
  const warnings: string[] = [];
  const session = new Session({
    coordinators,
    channelCredentials: insecureCredentials().client.channel,
    name: 'e1',
    incarnation: 'i1',
    slots: 2,
    version: 'test',
    engines: ['embedded'],
    clock: systemClock,
    random: Math.random,
    log: {
      info: () => undefined,
      warn: (fields) => {
        warnings.push(String(fields['code']));
      },
    },
    handlers: {
      hello: () => ({ runningTasks: ['9223372036854775807'], collectors: [] }),
      progress: () => [{ task: '1/1/1/0', token: 2n ** 63n - 1n, phase: 'computing', rows: 2n ** 40n }],
      onWelcome: () => undefined,
      onMessage: (message) => {
        messages.push(message);
      },
    },
  });
  const abort = new AbortController();
  const ended = session.run(abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort(new Error('test ended'));
    await ended;
  };
  closers.push(stop);
  return { session, messages, warnings, stop };
}

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

describe('the session of an executor', () => {
  it('says hello, then sends heartbeats with its tasks for as long as they are answered', async () => {
    const first = await leader();
    const { session } = join([first.address]);
    const hello = await first.hears('hello');
    expect(hello).toMatchObject({ format: 1, name: 'e1', clusterId: '', leaderTerm: 0n, slots: 2 });
    const beat = await first.hears('heartbeat', ({ sequence }) => sequence >= 3n);
    expect(beat.tasks).toEqual([
      { task: '1/1/1/0', token: 9223372036854775807n, phase: 'computing', rows: 1099511627776n },
    ]);
    expect(session.connected).toBe(true);
    expect(session.clusterId).toBe(CLUSTER);
  });

  it('follows a redirect to the leader, and learns members that it was not told of', async () => {
    const real = await leader();
    const follower = await leader({
      greet: () => ({ $case: 'redirect', value: { clientAddress: real.address, clientAddresses: [] } }),
    });
    join([follower.address]);
    await real.hears('heartbeat');

    const unsure = await leader({
      greet: () => ({ $case: 'redirect', value: { clientAddress: '', clientAddresses: [real.address] } }),
    });
    join([unsure.address]);
    await real.hears('hello', () => true, 2);
  });

  it('refuses a leader of another cluster and one of a lower term, and goes on looking', async () => {
    const first = await leader({ leaderTerm: 7n });
    const foreign = await leader({ clusterId: 'd'.repeat(32), leaderTerm: 9n });
    const deposed = await leader({ leaderTerm: 6n });
    const { session, warnings } = join([first.address, foreign.address, deposed.address]);
    await first.hears('heartbeat');
    first.stop();
    await foreign.hears('hello', ({ clusterId, leaderTerm }) => clusterId === CLUSTER && leaderTerm === 7n);
    await deposed.hears('hello');
    await eventually(() => warnings.includes('CLUSTER_MISMATCH') && warnings.includes('STALE_TERM'), {
      withinMs: 5_000,
    });
    expect(session.connected).toBe(false);
    expect(foreign.all('heartbeat')).toEqual([]);
    expect(deposed.all('heartbeat')).toEqual([]);
  });

  it('does not obey a message of a lower term than it has seen', async () => {
    const only = await leader({ leaderTerm: 7n });
    const { messages, warnings } = join([only.address]);
    await only.hears('heartbeat');
    const ids = {
      token: 1n,
      sourceId: 1n,
      sinkId: 1n,
      sinkEpoch: 1n,
      copies: [],
      pending: [],
      superseded: [],
    };
    const prepare = { ...ids, clusterId: CLUSTER, reports: [], step: PrepareStep.PREPARE_STEP_ALL };
    only.say({ $case: 'prepare', value: { ...prepare, leaderTerm: 6n } });
    await only.hears('hello', () => true, 2);
    expect(warnings).toContain('STALE_TERM');
    expect(messages).toEqual([]);
  });

  it('leaves a leader that falls silent', async () => {
    const first = await leader({ sessionMs: 150 });
    join([first.address]);
    await first.hears('heartbeat');
    first.options.answersHeartbeats = false;
    await first.hears('hello', () => true, 2);
  });

  it('says goodbye when it is stopped', async () => {
    const first = await leader();
    const { stop } = join([first.address]);
    await first.hears('heartbeat');
    await stop();
    await first.hears('goodbye');
  });

  it('keeps dialling while nobody answers, and connects when somebody does', async () => {
    const probe = await FakeLeader.start();
    const port = Number(probe.address.split(':')[1]);
    probe.stop();
    const { warnings } = join([probe.address]);
    await eventually(() => warnings.length >= 1, { withinMs: 10_000 });
    const late = await FakeLeader.start({}, port);
    closers.push(() => {
      late.stop();
    });
    await late.hears('heartbeat');
  });
});
