import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LIMITS, TidemarkError, must } from '../../src/base/index.ts';
import { connect, type TidemarkClient } from '../../src/client/index.ts';
import type { KeyValueRequest } from '../../src/wire/index.ts';
import { rule } from '../support/rule.ts';
import { ScriptedKeyValues, done, refuse } from './scripted-key-values.ts';

let coordinators: ScriptedKeyValues[];
const clients: TidemarkClient[] = [];

beforeEach(async () => {
  coordinators = [await ScriptedKeyValues.start(), await ScriptedKeyValues.start()];
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const coordinator of coordinators) coordinator.stop();
});

const at = (position: number): ScriptedKeyValues => must(coordinators[position], 'coordinator');
const kv = (deadlineMs = 5_000) => {
  const made = connect({ endpoints: coordinators.map(({ address }) => address), deadlineMs });
  clients.push(made);
  return made.kv;
};
const sequences = (asked: readonly KeyValueRequest[]): number[] =>
  asked.map((request) => (request.kind === 'write' ? request.sequence : -1));

describe('a client that only reads', () => {
  it('needs no session and asks whom it has; its first write opens one', async () => {
    const client = kv();
    expect((await client.get('a'))?.revision).toBe(9);
    expect(at(0).sessions + at(1).sessions).toBe(0);
    const [read, written] = await Promise.all([client.get('a'), client.put('a', 'x')]);
    expect([read?.revision, written.revision]).toEqual([9, 9]);
    expect(at(0).sessions + at(1).sessions).toBe(1);
    expect(sequences(at(0).asked)).toEqual([-1, 1, -1]);
  });
});

describe('a write', () => {
  it('goes to the leader that is named, under the session and sequence that it had', async () => {
    at(0).answer = (request) => refuse(request, 'NOT_LEADER', at(1).address);
    expect(await kv().put('a', 'x')).toEqual({ revision: 9 });
    expect(at(0).asked).toEqual(at(1).asked);
  });

  it('is sent again when the stream ends under it, and a read too', async () => {
    at(0).answer = () => 'cut';
    const client = kv();
    await client.put('a', 'x');
    expect((await client.get('a'))?.revision).toBe(9);
    expect(sequences(at(0).asked)).toEqual([1]);
    expect(sequences(at(1).asked)).toEqual([1, -1]);
  });

  it('is sent elsewhere when a coordinator falls silent', async () => {
    at(0).answer = () => 'silence';
    await kv(LIMITS.keyValueSilenceMs + 4_000).put('a', 'x');
    expect(sequences(at(1).asked)).toEqual([1]);
  });

  it('does not go back to the silent one while another does not know better', async () => {
    const third = await ScriptedKeyValues.start();
    coordinators.push(third);
    at(0).answer = () => 'silence';
    at(1).answer = (request) => refuse(request, 'NOT_LEADER', at(0).address);
    third.answer = (request, before) =>
      before < 3 ? refuse(request, 'NOT_LEADER', at(0).address) : done(request);
    await kv(LIMITS.keyValueSilenceMs + 4_000).put('a', 'x');
    expect([at(0).asked.length, third.asked.length]).toEqual([1, 4]);
  });

  it('goes back to the silent one when it leads again after another has', async () => {
    let silent = true;
    at(0).answer = (request) => (silent ? 'silence' : done(request));
    const client = kv(LIMITS.keyValueSilenceMs + 4_000);
    await client.put('a', 'x');
    silent = false;
    at(1).answer = (request) => refuse(request, 'NOT_LEADER', at(0).address);
    await client.put('a', 'y');
    expect([at(0).asked.length, at(1).asked.length]).toEqual([2, 2]);
  });

  it('without an answer has an unknown outcome; a read, or one that was refused, not [R68]', async () => {
    const client = kv();
    // Connected first: on a busy machine that alone takes longer than the deadline below.
    await client.put('a', 'x');
    at(0).answer = () => 'silence';
    const soon = { deadlineMs: 200 };
    await expect(client.put('a', 'x', soon)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await expect(client.get('a', soon)).rejects.toMatchObject({ code: 'NO_LEADER' });
    const refused = kv(300);
    at(0).answer = (request) => refuse(request, 'NOT_LEADER');
    at(1).answer = at(0).answer;
    await expect(refused.put('a', 'x')).rejects.toMatchObject({ code: 'NO_LEADER' });
  });

  rule('client.underWayIsFailure', 'under way when the stream is refused is in doubt [R68]', async () => {
    at(0).answer = (request) => {
      const [sequence] = sequences([request]);
      return sequence === 1 ? 'silence' : new TidemarkError('BAD_REQUEST', 'not understood');
    };
    const client = kv();
    const first = client.put('a', 'x');
    first.catch(() => 'judged below');
    const asked = at(0).asked.length;
    while (at(0).asked.length === asked) await new Promise((turn) => setImmediate(turn));
    const second = client.put('a', 'y');
    await expect(second).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await expect(first).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  it('of a stream that no handler saw is told as it was refused', async () => {
    at(0).answer = () => new TidemarkError('UNAUTHORIZED', 'not for you');
    await expect(kv().put('a', 'x')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('that a leader could not answer is in doubt, also if its session ends in the same moment', async () => {
    let first: KeyValueRequest | undefined;
    at(0).answer = (request) => {
      if (first !== undefined) return [refuse(first, 'OUTCOME_UNKNOWN'), refuse(request, 'SESSION_EXPIRED')];
      first = request;
      return 'silence';
    };
    const client = kv();
    const lost = client.put('a', 'x');
    lost.catch(() => 'judged below');
    while (at(0).asked.length === 0) await new Promise((turn) => setImmediate(turn));
    at(1).answer = done;
    const again = client.put('b', 'x');
    await expect(lost).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    at(0).answer = done;
    expect(await again).toEqual({ revision: 9 });
  });

  it('that was cut off once is in doubt, whatever refuses it later', async () => {
    at(0).answer = () => 'cut';
    at(1).answer = (request) => refuse(request, 'NOT_LEADER');
    await expect(kv(300).put('a', 'x')).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  it('is told as it was refused when no other try can help', async () => {
    at(0).answer = (request) => refuse(request, 'STATE_FULL');
    await expect(kv().put('a', 'x')).rejects.toMatchObject({ code: 'STATE_FULL' });
    await expect(kv().put('', 'x')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await expect(kv().get('a', { namespace: 'No' })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('a session', () => {
  it('that the cluster has ended is opened anew for what surely had no effect', async () => {
    at(0).answer = (request, before) => (before === 0 ? refuse(request, 'SESSION_EXPIRED') : done(request));
    await kv().put('a', 'x');
    expect(at(0).asked).toMatchObject([{ session: 1 }, { session: 2, sequence: 2 }]);
  });

  it('ends in doubt for what may have been carried out before', async () => {
    at(0).answer = () => 'cut';
    at(1).answer = (request) => refuse(request, 'SESSION_EXPIRED');
    await expect(kv().put('a', 'x')).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  it('acknowledges the answers it has, up to the oldest that it still waits for', async () => {
    at(0).answer = (request) => (sequences([request])[0] === 2 ? 'silence' : done(request));
    const client = kv();
    await client.put('a', '1');
    const second = client.put('a', '2', { deadlineMs: 300 });
    second.catch(() => 'judged below');
    while (at(0).asked.length < 2) await new Promise((turn) => setImmediate(turn));
    await client.put('a', '3');
    await expect(second).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await client.put('a', '4');
    expect(at(0).asked.map((one) => (one.kind === 'write' ? one.acked : -1))).toEqual([0, 1, 1, 3]);
  });

  it('gathers the writes of one turn, and has a bound on what is under way', async () => {
    at(0).answer = (request, before) => (request.kind === 'read' || before === 0 ? done(request) : 'silence');
    const client = kv();
    await client.put('connected', 'x');
    const many = LIMITS.keyValueWritesPerBatchMax * (LIMITS.keyValueBatchesOutstandingMax + 1);
    const writes = Promise.allSettled(Array.from({ length: many }, (_, n) => client.put(`k${n}`, 'x')));
    await client.get('a');
    const asked = at(0).asked.filter(({ kind }) => kind === 'write');
    expect(asked).toHaveLength(1 + LIMITS.keyValueBatchesOutstandingMax);
    // Closed, not left to a deadline: what expires makes room, and on a busy machine that was seen above.
    clients[0]?.close();
    const settled = await writes;
    expect(new Set(settled.map(({ status }) => status))).toEqual(new Set(['rejected']));
  });
});
