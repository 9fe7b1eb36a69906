import { describe, expect, it } from 'vitest';
import { LIMITS, TidemarkError, type Clock } from '../../src/base/index.ts';
import { StatesHost, type StatesSteps } from '../../src/executor/states-host.ts';
import type { AdvanceStates, StatesOutcome } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { token } from './shop.ts';

/** Time passes at once: a retry is due as soon as it is planned. */
const hastyClock: Clock = {
  monotonicMs: () => 0,
  wallMs: () => 0,
  after(_delayMs, run) {
    const timer = setImmediate(run);
    return () => {
      clearImmediate(timer);
    };
  },
};

const orderOf = (grant: number, change: Partial<AdvanceStates> = {}): AdvanceStates => ({
  sourceId: 1n,
  shard: 's1',
  token: token(grant),
  leaderTerm: 3n,
  topologyVersion: 1,
  windows: [],
  superseded: [],
  formerChains: [],
  ...change,
});

interface Bench {
  readonly host: StatesHost;
  readonly outcomes: StatesOutcome[];
  readonly started: AdvanceStates[];
  outcome(count?: number): Promise<StatesOutcome>;
}

function bench(steps: Partial<StatesSteps> = {}): Bench {
  const outcomes: StatesOutcome[] = [];
  const started: AdvanceStates[] = [];
  const advance = steps.advance ?? (() => Promise.resolve({ window: 7, rows: 5 }));
  const host = new StatesHost({
    clock: hastyClock,
    random: () => 0,
    log: { info: () => undefined, warn: () => undefined },
    report: (outcome) => {
      outcomes.push(outcome);
    },
    steps: {
      killSuperseded: steps.killSuperseded ?? (() => Promise.resolve()),
      advance: (order, signal) => {
        started.push(order);
        return advance(order, signal);
      },
    },
  });
  const outcome = async (count = 1): Promise<StatesOutcome> => {
    const found = await eventually(
      () => {
        const value = outcomes[count - 1];
        if (value === undefined) throw new Error(`${outcomes.length} outcomes`);
        return { value };
      },
      { withinMs: 5_000, everyMs: 1 },
    );
    return found.value;
  };
  return { host, outcomes, started, outcome };
}

/** Rejects when the work is cancelled, as a query whose connection is killed does. */
const untilCancelled = (_order: AdvanceStates, signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new TidemarkError('DB_UNREACHABLE', 'the connection was killed'));
    });
  });

describe('a grant of row states at an executor', () => {
  it('is carried out once, and told with the mark that it reached', async () => {
    const { host, started, outcome } = bench();
    host.dispatch(orderOf(2));
    host.dispatch(orderOf(2));
    expect(host.progress()).toMatchObject([{ task: 'states 1/s1', token: token(2) }]);
    expect(await outcome()).toMatchObject({ token: token(2), window: 7n, rows: 5n, errorCode: '' });
    expect(started).toHaveLength(1);
    expect(host.progress()).toEqual([]);
  });

  it('is tried again in place after what may pass, an outcome that is not known included', async () => {
    const codes = ['DB_OUTCOME_UNKNOWN', 'DB_BUSY'] as const;
    let tries = 0;
    const { host, outcome } = bench({
      advance: () => {
        const code = codes[tries++];
        if (code !== undefined) return Promise.reject(new TidemarkError(code, 'test'));
        return Promise.resolve({ window: 9, rows: 1 });
      },
    });
    host.dispatch(orderOf(2));
    expect(await outcome()).toMatchObject({ window: 9n, errorCode: '' });
    expect(tries).toBe(3);
  });

  it.each([
    ['STATE_GAP', { mark: '4' }, 4n],
    ['STATE_FENCED', {}, 0n],
  ] as const)(
    'that ends with %s says where the mark is, as far as it was seen',
    async (code, details, window) => {
      const error = new TidemarkError(code, 'test', { details });
      const { host, outcome, started } = bench({ advance: () => Promise.reject(error) });
      host.dispatch(orderOf(2));
      expect(await outcome()).toMatchObject({ errorCode: code, errorMessage: 'test', window });
      expect(started).toHaveLength(1);
    },
  );

  it('that does not find a window names the first one', async () => {
    const error = new TidemarkError('WINDOW_INCOMPLETE', 'test', { details: { window: '7' } });
    const { host, outcome } = bench({ advance: () => Promise.reject(error) });
    host.dispatch(orderOf(2));
    expect(await outcome()).toMatchObject({ errorCode: 'WINDOW_INCOMPLETE', lostWindow: 7n, window: 0n });
  });

  it('gives way to a newer one, after earlier connections were killed; an older one is ignored', async () => {
    const killed: bigint[] = [];
    const { host, started, outcome } = bench({
      advance: (order, signal) =>
        order.token === token(2) ? untilCancelled(order, signal) : Promise.resolve({ window: 3, rows: 0 }),
      killSuperseded: (order) => {
        killed.push(...order.superseded);
        return Promise.resolve();
      },
    });
    host.dispatch(orderOf(2));
    await eventually(() => expect(started).toHaveLength(1), { withinMs: 5_000, everyMs: 1 });
    host.dispatch(orderOf(3, { superseded: [token(2)] }));
    host.dispatch(orderOf(1));
    expect(await outcome(2)).toMatchObject({ token: token(3), window: 3n });
    expect(await outcome(1)).toMatchObject({ token: token(2), errorCode: 'CANCELLED' });
    expect(killed).toEqual([token(2)]);
    expect(started).toHaveLength(2);
  });

  it('is cancelled by its token or a higher one', async () => {
    const { host, started, outcome } = bench({ advance: untilCancelled });
    host.dispatch(orderOf(2));
    await eventually(() => expect(started).toHaveLength(1), { withinMs: 5_000, everyMs: 1 });
    host.cancel({ sourceId: 1n, shard: 's1', token: token(1) });
    expect(host.progress()).toHaveLength(1);
    host.cancel({ sourceId: 1n, shard: 's1', token: token(2) });
    expect(await outcome()).toMatchObject({ errorCode: 'CANCELLED' });
  });

  it('waits for one of a bounded number of slots, and never after the host has stopped', async () => {
    const { host, started, outcomes } = bench({ advance: untilCancelled });
    for (let i = 0; i <= LIMITS.statesSlotsPerExecutor; i++) host.dispatch(orderOf(2, { shard: `s${i}` }));
    await eventually(() => expect(started).toHaveLength(LIMITS.statesSlotsPerExecutor), {
      withinMs: 5_000,
      everyMs: 1,
    });
    const phases = host.progress().map(({ phase }) => phase);
    expect(phases.filter((phase) => phase === 'waiting')).toHaveLength(1);
    await host.stop();
    expect(outcomes).toHaveLength(LIMITS.statesSlotsPerExecutor);
    host.dispatch(orderOf(3));
    expect(host.progress()).toEqual([]);
  });
});
