import { describe, expect, it } from 'vitest';
import { must, parseToken } from '../../src/base/index.ts';
import { idKey, type FinishStates, type GrantStates } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { jobOf, jobWithStates, runningWorld, type World } from './support/world.ts';

function world(): World {
  const made = runningWorld(jobWithStates());
  for (let i = 0; i < 4; i++) made.seal();
  return made;
}

const grantOf = (
  firstWindow: number,
  lastWindow: number,
  change: Partial<GrantStates> = {},
): GrantStates => ({
  type: 'state.grant',
  v: 1,
  sourceId: 1,
  shard: 's1',
  firstWindow,
  lastWindow,
  executorId: 1,
  failedAttempt: false,
  ...change,
});

const finish = (token: string, window: number, change: Partial<FinishStates> = {}): FinishStates => ({
  type: 'state.finish',
  v: 1,
  sourceId: 1,
  shard: 's1',
  token,
  window,
  errorCode: '',
  errorMessage: '',
  retryAfterMs: 0,
  ...change,
});

const failed = (token: string, window: number): FinishStates =>
  finish(token, window, { errorCode: 'DB_BUSY', errorMessage: 'why', retryAfterMs: 500 });

const shardOf = (made: World, shard = 's1') => made.source().states?.find((states) => states.shard === shard);

const tokenOf = (made: World, grant: GrantStates): string => made.accept(grant)['token'] as string;

describe('row states', () => {
  it('are kept where a report reads them, on every shard, and nowhere else', () => {
    expect(runningWorld().source().states).toBeNull();
    expect(world().source().states).toMatchObject([
      { shard: 's1', window: 0, grant: null },
      { shard: 's2', window: 0, grant: null },
    ]);
  });

  it('go on window by window on each shard, several in one grant', () => {
    const made = world();
    const token = tokenOf(made, grantOf(1, 3));
    expect(shardOf(made)?.grant).toMatchObject({ token, firstWindow: 1, lastWindow: 3, executorId: 1 });
    made.accept(finish(token, 3));
    expect(shardOf(made)).toMatchObject({ window: 3, grant: null });
    expect(shardOf(made, 's2')).toMatchObject({ window: 0 });
    made.accept(grantOf(4, 4));
    made.accept(grantOf(1, 4, { shard: 's2' }));
  });

  rule('state.statesGrantedOutOfOrder', 'are granted only right after what is finished', () => {
    const made = world();
    expect(made.refuse(grantOf(2, 3))).toBe('WINDOW_GAP');
    made.accept(finish(tokenOf(made, grantOf(1, 2)), 2));
    expect(made.refuse(grantOf(2, 3))).toBe('WINDOW_GAP');
    expect(made.refuse(grantOf(4, 4))).toBe('WINDOW_GAP');
  });

  rule('state.statesFinishedByOldToken', 'are finished by the newest grant alone', () => {
    const made = world();
    const old = tokenOf(made, grantOf(1, 2));
    const token = tokenOf(made, grantOf(1, 4, { failedAttempt: true }));
    expect(shardOf(made)).toMatchObject({ superseded: [old], attempts: 1 });
    expect(made.refuse(finish(old, 4))).toBe('STALE_EPOCH');
    expect(made.refuse({ type: 'state.reset', v: 1, sourceId: 1, shard: 's1', token: old, window: 0 })).toBe(
      'STALE_EPOCH',
    );
    made.accept(finish(token, 4));
    expect(shardOf(made)).toMatchObject({ window: 4, superseded: [], attempts: 0 });
    expect(made.refuse(finish(token, 4))).toBe('STALE_EPOCH');
  });

  it('keep what a failed grant has reached, and the delay before the next', () => {
    const made = world();
    const first = tokenOf(made, grantOf(1, 4));
    made.accept(failed(first, 2));
    const retryAtMs = made.logTimeMs + 500;
    expect(shardOf(made)).toMatchObject({
      window: 2,
      grant: null,
      attempts: 1,
      retryAtMs,
      superseded: [first],
    });
    expect(shardOf(made)?.problem).toBe('DB_BUSY: why');
    const second = tokenOf(made, grantOf(3, 4));
    made.accept(failed(second, 2));
    expect(shardOf(made)).toMatchObject({ window: 2, attempts: 2, superseded: [second, first] });
    made.accept(finish(tokenOf(made, grantOf(3, 4)), 4));
    expect(shardOf(made)).toMatchObject({ window: 4, attempts: 0, problem: '' });
  });

  it('end where a shard ends that was ahead of what is known here', () => {
    const made = world();
    made.accept(finish(tokenOf(made, grantOf(1, 2)), 4));
    expect(shardOf(made)?.window).toBe(4);
  });

  it.each<[string, (token: string) => FinishStates | GrantStates]>([
    ['a window that is not sealed', () => grantOf(1, 5)],
    ['no window', () => grantOf(1, 0)],
    ['an executor that is not known', () => grantOf(1, 1, { executorId: 9 })],
    ['a shard that is not known', () => grantOf(1, 1, { shard: 'x' })],
    ['a source that is not known', () => grantOf(1, 1, { sourceId: 9 })],
    ['less than was granted', (token) => finish(token, 1)],
    ['more than is sealed', (token) => finish(token, 5)],
  ])('are refused for %s', (_what, operation) => {
    const made = world();
    made.refuse(operation(tokenOf(made, grantOf(1, 2))));
  });

  it('go back where a failover has taken their mark back, and are granted again from there', () => {
    const made = world();
    made.accept(finish(tokenOf(made, grantOf(1, 3)), 3));
    const token = tokenOf(made, grantOf(4, 4));
    const reset = { type: 'state.reset', v: 1, sourceId: 1, shard: 's1', token } as const;
    expect(made.refuse({ ...reset, window: 3 })).toBe('BAD_REQUEST');
    made.accept({ ...reset, window: 1 });
    expect(shardOf(made)).toMatchObject({ window: 1, grant: null, problem: '' });
    made.accept(grantOf(2, 4));
  });

  it('keep windows that they are yet to be made from, and say so when one is gone', () => {
    const made = runningWorld(jobWithStates());
    for (let i = 0; i < 3; i++) made.seal();
    // As if every report were done with them.
    made.state.sources.put(idKey(1), { ...made.source(), horizon: 2 });
    made.seal();
    expect(made.window(1)).toBeDefined();
    const last = made.source().lastWindow;
    for (const shard of ['s1', 's2']) {
      made.accept(finish(tokenOf(made, grantOf(1, last, { shard })), last, { shard }));
    }
    made.seal();
    expect(made.window(1)).toBeUndefined();
    expect(made.window(3)).toBeDefined();
    const token = tokenOf(made, grantOf(last + 1, last + 1));
    made.accept({ type: 'state.reset', v: 1, sourceId: 1, shard: 's1', token, window: 0 });
    expect(shardOf(made)?.problem).toMatch(/^STATE_GAP: window 1 is not kept any more/);
  });

  rule('state.restoreKeepsStates', 'know after a restore what of the store is of before it', () => {
    const made = world();
    const former = tokenOf(made, grantOf(1, 1));
    made.accept({ type: 'cluster.restore', v: 1, formerId: 'former' });
    expect(shardOf(made)).toMatchObject({ window: 0, grant: null, superseded: [] });
    expect(made.source().formerChains).toMatchObject([{ lastWindow: 4 }]);
    made.collect(1);
    made.seal();
    const token = tokenOf(made, grantOf(1, 5));
    made.accept(finish(token, 5));
    const { below } = must(made.source().formerChains[0], 'a former chain');
    expect(parseToken(former)).toBeLessThan(parseToken(below));
    expect(parseToken(token)).toBeGreaterThan(parseToken(below));
    made.accept({ type: 'cluster.restore', v: 1, formerId: 'second' });
    expect(made.source().formerChains).toMatchObject([{ below, lastWindow: 4 }, { lastWindow: 5 }]);
  });

  it('that are kept from after a restore on know it too', () => {
    const made = runningWorld();
    made.seal();
    made.accept({ type: 'cluster.restore', v: 1, formerId: 'former' });
    expect(made.source()).toMatchObject({ states: null, formerChains: [{ lastWindow: 1 }] });
    made.accept({ ...jobOf({ shop: ['sales', 'more'] }) });
    expect(made.source().states).toMatchObject([{ window: 0 }]);
    expect(made.source().formerChains).toMatchObject([{ lastWindow: 1 }]);
  });
});
