import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TidemarkError, must, type ErrorCode } from '../../src/base/index.ts';
import { connect, type TidemarkClient } from '../../src/client/index.ts';
import { MEMBERS_EVERY_MS } from '../../src/client/member-watch.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { ScriptedCoordinator, type Answer } from './scripted-coordinator.ts';

let coordinators: ScriptedCoordinator[];
const clients: TidemarkClient[] = [];

beforeEach(async () => {
  coordinators = [await ScriptedCoordinator.start(), await ScriptedCoordinator.start()];
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const coordinator of coordinators) coordinator.stop();
});

const at = (position: number): ScriptedCoordinator => must(coordinators[position], 'coordinator');

const client = (
  deadlineMs = 5_000,
  endpoints = coordinators.map(({ address }) => address),
): TidemarkClient => {
  const made = connect({ endpoints, deadlineMs });
  clients.push(made);
  return made;
};

const refuse = (code: ErrorCode, leader?: string): Answer => ({
  error: new TidemarkError(code, `refused with ${code}`, leader === undefined ? {} : { details: { leader } }),
});

const SESSION: Answer = { reply: { sessionId: 7n } };
const WOKEN: Answer = { reply: { woken: 3 } };
const SOURCES: Answer = { reply: { sources: [] } };

describe('members that the client was not given', () => {
  rule('client.learnsNobody', 'are learned while it lives, and asked when the others are gone', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const [first, second] = [await ScriptedCoordinator.start(), await ScriptedCoordinator.start()];
      const third = await ScriptedCoordinator.start();
      coordinators.push(first, second, third);
      const tell = (index: bigint, ...members: ScriptedCoordinator[]): Answer => {
        const named = members.map(({ address }) => ({ clientAddress: address }));
        return { reply: { clusterId: 'c', configurationIndex: index, members: named } };
      };
      first.answer = (method) => (method === 'status' ? tell(1n, first, second) : SOURCES);
      second.answer = (method) => (method === 'status' ? tell(2n, second, third) : SOURCES);
      third.answer = (method) => (method === 'status' ? tell(1n, first, second) : SOURCES);
      const made = client(1_000, [first.address]);
      for (const [asked, gone] of [
        [first, first],
        [second, second],
        [third, undefined],
      ] as const) {
        await made.listSources();
        expect(asked.of('listSources').length).toBeGreaterThan(0);
        // Idle for a while.
        vi.advanceTimersByTime(MEMBERS_EVERY_MS);
        await eventually(() => asked.of('status').length > 0, { withinMs: 1_000 });
        // What it told has arrived: the answer is on its way before the next one's.
        await made.listSources();
        gone?.stop();
      }
      // The last told of an older configuration, which takes nothing back.
      await made.listSources();
      expect(third.of('listSources')).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('where a request goes', () => {
  test('to the first endpoint, then to the leader that it names; the next goes there at once', async () => {
    at(0).answer = () => refuse('NOT_LEADER', at(1).address);
    at(1).answer = () => SOURCES;
    const made = client(5_000, [at(0).address]);
    await made.listSources();
    await made.listSources();
    expect([at(0).asked.length, at(1).asked.length]).toEqual([1, 2]);
  });

  test('to the next endpoint when one refuses the connection', async () => {
    at(0).stop();
    at(1).answer = () => SOURCES;
    await client().listSources();
    expect(at(1).asked).toHaveLength(1);
  });

  test('past one that belongs to no cluster, unless none does', async () => {
    at(0).answer = () => refuse('NOT_INITIALIZED');
    at(1).answer = () => SOURCES;
    await client().listSources();
    at(1).answer = () => refuse('NOT_INITIALIZED');
    await expect(client().listSources()).rejects.toMatchObject({ code: 'NOT_INITIALIZED' });
  });

  test('to the others when a hint leads nowhere', async () => {
    at(0).answer = (_, before) => (before === 0 ? refuse('NOT_LEADER', '127.0.0.1:1') : SOURCES);
    at(1).answer = () => refuse('NOT_LEADER', 'not an address');
    await client().listSources();
    expect(at(0).asked).toHaveLength(2);
  });

  test('to and fro between two that name each other, not in a busy circle', async () => {
    at(0).answer = () => refuse('NOT_LEADER', at(1).address);
    at(1).answer = () => refuse('NOT_LEADER', at(0).address);
    await expect(client(500).listSources()).rejects.toMatchObject({ code: 'NO_LEADER' });
    expect(at(0).asked.length + at(1).asked.length).toBeLessThan(40);
  });

  test('elsewhere when the one asked says nothing, if it is a read', async () => {
    at(0).answer = () => 'silence';
    at(1).answer = () => SOURCES;
    await client(10_000).listSources();
    expect([at(0).asked.length, at(1).asked.length]).toEqual([1, 1]);
  });
});

describe('what is sent again', () => {
  test('a change whose connection broke, under the same session and sequence', async () => {
    at(0).answer = (method, before) => {
      if (method === 'openSession') return SESSION;
      return before === 0 ? 'cut' : WOKEN;
    };
    expect(await client(10_000, [at(0).address]).retryTasks()).toBe(3);
    const ids = at(0)
      .of('retryTasks')
      .map(({ request }) => [request['sessionId'], request['sequence']]);
    expect(ids).toEqual([
      [7n, 1n],
      [7n, 1n],
    ]);
  });

  test('each change has a number of its own, and one session serves them all', async () => {
    at(0).answer = (method) => (method === 'openSession' ? SESSION : WOKEN);
    const made = client();
    await Promise.all([made.retryTasks(), made.retryTasks(), made.retryTasks()]);
    const sequences = at(0)
      .of('retryTasks')
      .map(({ request }) => request['sequence']);
    expect([...sequences].sort()).toEqual([1n, 2n, 3n]);
    expect(at(0).of('openSession')).toHaveLength(1);
  });

  test.each(['OVERLOADED', 'NO_EXECUTOR', 'OUTCOME_UNKNOWN'] as const)('%s, which passes', async (code) => {
    at(0).answer = (method, before) => {
      if (method === 'openSession') return SESSION;
      return before < 2 ? refuse(code) : WOKEN;
    };
    expect(await client(5_000, [at(0).address]).retryTasks()).toBe(3);
  });

  test.each(['JOB_INVALID', 'UNKNOWN_TASK', 'SEQUENCE_STALE', 'DB_UNREACHABLE', 'INTERNAL'] as const)(
    'not %s, which is the answer',
    async (code) => {
      at(0).answer = (method) => (method === 'openSession' ? SESSION : refuse(code));
      await expect(client().retryTasks()).rejects.toMatchObject({ code });
      expect(at(0).of('retryTasks')).toHaveLength(1);
    },
  );

  test('a change whose session has ended, once, under a new session', async () => {
    at(0).answer = (method, before) => {
      if (method === 'openSession') return { reply: { sessionId: BigInt(before + 1) } };
      return before === 0 ? refuse('SESSION_EXPIRED') : WOKEN;
    };
    expect(await client().retryTasks()).toBe(3);
    const sessions = at(0)
      .of('retryTasks')
      .map(({ request }) => request['sessionId']);
    expect(sessions).toEqual([1n, 2n]);
  });

  rule('client.expiredSessionRetried', 'not a change whose answer was lost with its session', async () => {
    at(0).answer = (method, before) => {
      if (method === 'openSession') return { reply: { sessionId: BigInt(before + 1) } };
      return before === 0 ? 'cut' : refuse('SESSION_EXPIRED');
    };
    const made = client(10_000, [at(0).address]);
    await expect(made.retryTasks()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect(at(0).of('retryTasks')).toHaveLength(2);
  });

  test('a session that could not be opened is tried again by the next change', async () => {
    at(0).answer = (method, before) => {
      if (method === 'openSession') return before === 0 ? refuse('UNAUTHORIZED') : SESSION;
      return WOKEN;
    };
    const made = client();
    await expect(made.retryTasks()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await made.retryTasks()).toBe(3);
  });
});

describe('when the deadline passes', () => {
  test('a change without an answer is OUTCOME_UNKNOWN, never a failure [R68]', async () => {
    at(0).answer = (method) => (method === 'openSession' ? SESSION : 'silence');
    await expect(client(400).retryTasks()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('a change surely not carried out is NO_LEADER, and each endpoint says what was found', async () => {
    const status = { clusterId: 'ab', role: 'follower', term: 12n, leaderId: 2n, leaderContactMs: 41_000n };
    at(0).answer = (method) => {
      if (method !== 'status') return refuse('NOT_LEADER');
      // A learner elects nobody: two of the three voters are needed.
      const members = [1n, 2n, 3n, 4n].map((memberId) => ({
        memberId,
        role: memberId === 4n ? 'learner' : 'voter',
      }));
      return { reply: { ...status, memberId: 1n, members } };
    };
    at(1).stop();
    const error: unknown = await client(300)
      .listSources()
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'NO_LEADER' });
    const { message, next } = error as TidemarkError;
    expect(message).toContain(`${at(0).address}  reachable, follower, term 12, last leader contact 41 s ago`);
    expect(message).toContain(`${at(1).address}  refused connection`);
    expect(next).toContain('2 of 3 voters are needed, 1 answers here');
  });

  test('a cluster that waits for init is told as such', async () => {
    for (const coordinator of coordinators) {
      coordinator.answer = (method) =>
        method === 'status' ? { reply: { role: 'uninitialized' } } : refuse('NOT_LEADER');
    }
    await expect(client(200).listSources()).rejects.toMatchObject({ code: 'NOT_INITIALIZED' });
  });

  test('what is still in the way is told when it is known: NO_EXECUTOR', async () => {
    at(0).answer = (method) => (method === 'openSession' ? SESSION : refuse('NO_EXECUTOR'));
    await expect(client(200, [at(0).address]).retryTasks()).rejects.toMatchObject({ code: 'NO_EXECUTOR' });
  });
});

describe('when the client is closed', () => {
  rule('client.closedIsFailure', 'a change under way is in doubt, a read is not [R68]', async () => {
    at(0).answer = (method) => (method === 'openSession' ? SESSION : 'silence');
    const asked = at(0).asked.length;
    const made = client(500, [at(0).address]);
    const outcomes = Promise.allSettled([
      made.retryTasks(),
      made.membership.remove(3),
      made.init([at(0).address]),
      made.listSources(),
    ]);
    const methods = ['retryTasks', 'removeMember', 'init', 'listSources'];
    await eventually(
      () => {
        const seen = at(0)
          .asked.slice(asked)
          .map(({ method }) => method);
        return methods.every((method) => seen.includes(method));
      },
      { withinMs: 5_000, what: 'all four calls' },
    );
    made.close();
    const codes = (await outcomes).map((one) =>
      one.status === 'rejected' ? (one.reason as TidemarkError).code : 'done',
    );
    const unknown = 'OUTCOME_UNKNOWN';
    expect(codes).toEqual([unknown, unknown, unknown, 'CANCELLED']);
    await expect(made.retryTasks()).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('endpoints', () => {
  test.each([[[]], [['nowhere']], [['host:1', ':']]])('%j: CONFIG_INVALID', (endpoints) => {
    expect(() => connect({ endpoints })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error,
    );
  });

  test('status asks every one, and tells of those that do not answer', async () => {
    at(0).answer = () => ({ reply: { version: '1', term: 2n ** 53n + 1n } });
    at(1).stop();
    const [first, second] = await client().status();
    // Beyond 2^53 a number of the wire stays exact.
    expect(first).toMatchObject({ endpoint: at(0).address, status: { version: '1', term: 2n ** 53n + 1n } });
    expect(second).toMatchObject({ endpoint: at(1).address, error: { code: 'NO_LEADER' } });
  });
});

test('the members are those of the latest configuration that an endpoint knows', async () => {
  const knows = (index: bigint, ids: readonly bigint[]): Answer => {
    const members = ids.map((memberId) => ({ memberId, clientAddress: at(0).address, role: 'voter' }));
    return { reply: { clusterId: 'c', term: 3n, configurationIndex: index, members } };
  };
  at(0).answer = () => knows(4n, [1n]);
  at(1).answer = () => knows(9n, [1n, 2n]);
  const { members } = await client().members();
  expect(members.map(({ memberId }) => memberId)).toEqual([1n, 2n]);
});
