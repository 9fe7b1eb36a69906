import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import {
  applyEntry,
  idKey,
  MemoryState,
  type Operation,
  type OperationResult,
} from '../../src/statemachine/index.ts';
import { decodeReplies, encodeReplies } from '../../src/statemachine/commands/replies.ts';
import { rule } from '../support/rule.ts';
import { topologyOf, World } from './support/world.ts';

const open: Operation = { type: 'session.open', v: 1, name: 'x' };

/** Applies one request of a session as an entry; answers its result and the bytes of its reply. */
function ask(
  state: MemoryState,
  request: { session: number; sequence: number; operation?: Operation; logTimeMs?: number },
): { bytes: Uint8Array; result: OperationResult | undefined } {
  const { session, sequence, operation = open, logTimeMs = 1 } = request;
  const entry = { logTimeMs, wallMs: 1, items: [{ session, sequence, operations: [operation] }] };
  const replies = applyEntry(state, entry, { index: 1, term: 1 });
  return { bytes: replies[0] ?? new Uint8Array(), result: decodeReplies(encodeReplies(replies))[0]?.[0] };
}

function withSession(): MemoryState {
  const state = new MemoryState();
  ask(state, { session: 0, sequence: 0 });
  return state;
}

describe('a session', () => {
  rule('state.sessionNotDeduplicated', 'gives a retry its first answer and runs it once [R65]', () => {
    const state = withSession();
    const first = ask(state, { session: 1, sequence: 1 });
    const sessions = state.sessions.size;
    expect(ask(state, { session: 1, sequence: 1 }).bytes).toEqual(first.bytes);
    expect(state.sessions.size).toBe(sessions);
  });

  it('gives also a refused request its first answer', () => {
    const state = withSession();
    const operation: Operation = { type: 'executor.expire', v: 1, executorId: 1, reason: '' };
    const first = ask(state, { session: 1, sequence: 1, operation });
    expect(first.result).toMatchObject({ ok: false, code: 'UNKNOWN_EXECUTOR' });
    expect(ask(state, { session: 1, sequence: 1 }).bytes).toEqual(first.bytes);
  });

  rule('state.sessionNotDeduplicated', 'refuses what is older than the answers it keeps', () => {
    const state = withSession();
    const last = LIMITS.sessionRepliesMax + 1;
    for (let sequence = 1; sequence <= last; sequence++) ask(state, { session: 1, sequence });
    expect(state.sessions.get(idKey(1))?.replies).toHaveLength(LIMITS.sessionRepliesMax);
    expect(ask(state, { session: 1, sequence: 1 }).result).toMatchObject({ code: 'SEQUENCE_STALE' });
    expect(ask(state, { session: 1, sequence: 2 }).result).toMatchObject({ ok: true });
    expect(state.sessions.size).toBe(1 + last);
  });

  it('bounds the bytes of the answers it keeps, but keeps the latest', () => {
    const state = withSession();
    const name = 'n'.repeat(LIMITS.sessionReplyBytesMax);
    const declare: Operation = {
      type: 'job.declare',
      v: 1,
      topology: topologyOf('s'),
      sinks: [],
      sources: [{ name: 'a', spec: '', captured: [''], begins: [], keptTables: 0, kept: '', sink: name }],
      reports: [],
    };
    ask(state, { session: 1, sequence: 1 });
    const large = ask(state, { session: 1, sequence: 2, operation: declare });
    expect(large.bytes.length).toBeGreaterThan(LIMITS.sessionReplyBytesMax);
    expect(state.sessions.get(idKey(1))?.replies).toHaveLength(1);
    expect(ask(state, { session: 1, sequence: 2, operation: declare }).bytes).toEqual(large.bytes);
    expect(ask(state, { session: 1, sequence: 1 }).result).toMatchObject({ code: 'SEQUENCE_STALE' });
  });

  it('that is not known is told so, for every operation of the request [R66]', () => {
    const state = withSession();
    expect(ask(state, { session: 7, sequence: 1 }).result).toMatchObject({ code: 'SESSION_EXPIRED' });
    expect(state.sessions.size).toBe(1);
  });

  it('ends, at the bound, when it was unused for longest and belongs to no executor [R67]', () => {
    const state = new MemoryState();
    const register: Operation = {
      type: 'executor.register',
      v: 1,
      name: 'e',
      incarnation: 'i',
      slots: 1,
      version: '',
      engines: [],
    };
    ask(state, { session: 0, sequence: 0, operation: register });
    while (state.sessions.size < LIMITS.sessionsMax) ask(state, { session: 0, sequence: 0, logTimeMs: 5 });
    ask(state, { session: 2, sequence: 1, operation: { ...register, slots: 0 }, logTimeMs: 6 });
    ask(state, { session: 0, sequence: 0, logTimeMs: 7 });
    expect(state.sessions.size).toBe(LIMITS.sessionsMax);
    expect([1, 2, 3].map((id) => state.sessions.get(idKey(id)) !== undefined)).toEqual([true, true, false]);
  });
});

describe('log time', () => {
  it('never goes back, whatever an entry carries [R36]', () => {
    const state = new MemoryState();
    for (const logTimeMs of [5, 9, 2]) ask(state, { session: 0, sequence: 0, logTimeMs });
    expect(state.cluster.logTimeMs).toBe(9);
    expect(state.sessions.get(idKey(3))?.openedMs).toBe(9);
  });
});

describe('executors', () => {
  const register = (incarnation: string, slots = 2): Operation => ({
    type: 'executor.register',
    v: 1,
    name: 'e',
    incarnation,
    slots,
    version: '1',
    engines: ['mysql'],
  });

  it('keep their ids over a reconnect; a new incarnation ends the earlier one and its session', () => {
    const world = new World();
    const first = world.accept(register('i1'));
    expect(world.accept(register('i1'))).toEqual(first);
    const second = world.accept(register('i2'));
    expect(second).toMatchObject({ executorId: 2, replaced: 1 });
    expect(world.state.executors.size).toBe(1);
    expect([...world.state.sessions.values()].map((session) => session.id)).toEqual([second['sessionId']]);
  });

  it('get a new id after they expired', () => {
    const world = new World();
    world.accept(register('i1'));
    const expire: Operation = { type: 'executor.expire', v: 1, executorId: 1, reason: 'silent' };
    world.accept(expire);
    expect(world.state.sessions.size).toBe(0);
    expect(world.refuse(expire)).toBe('UNKNOWN_EXECUTOR');
    expect(world.accept(register('i1'))).toMatchObject({ executorId: 2 });
  });

  it('are refused without a name, without slots, with too many, and beyond the bound', () => {
    const world = new World();
    expect(world.refuse({ ...register('i'), name: '' } as Operation)).toBe('BAD_REQUEST');
    expect(world.refuse(register('i', 0))).toBe('BAD_REQUEST');
    expect(world.refuse(register('i', LIMITS.slotsPerExecutorMax + 1))).toBe('BAD_REQUEST');
    for (let i = 0; i < LIMITS.executorsMax; i++) world.executor(`e${i}`);
    expect(world.refuse({ ...register('i'), name: 'one too many' } as Operation)).toBe('OVERLOADED');
  });
});
