import { describe, expect, it } from 'vitest';
import { TidemarkError, type Clock } from '../../src/base/index.ts';
import type { Run } from '../../src/executor/run.ts';
import { TaskRunner, type TaskSteps } from '../../src/executor/task-runner.ts';
import { TaskResult, type SealedWindow, type TaskOutcome } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { taskOf, token } from './shop.ts';

const window = (number: number): SealedWindow => ({
  window: BigInt(number),
  epoch: token(3),
  from: '',
  to: '',
  day: '2026-11-22',
  coversMs: 0n,
  topologyVersion: 1,
  shards: [],
  schemaVersions: [],
});

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

interface Bench {
  readonly runner: TaskRunner;
  readonly outcomes: TaskOutcome[];
  readonly computed: Run[];
  outcome(version: number): Promise<TaskOutcome>;
}

function bench(steps: Partial<TaskSteps>, slots = 2): Bench {
  const outcomes: TaskOutcome[] = [];
  const computed: Run[] = [];
  const empty = { contribution: { additive: [], multisets: [] }, rowsIn: 0, rowsOut: 0 };
  const runner = new TaskRunner({
    slots,
    clock: hastyClock,
    random: () => 0,
    log: { info: () => undefined, warn: () => undefined },
    report: (outcome) => {
      outcomes.push(outcome);
    },
    steps: {
      compute: () => Promise.resolve(empty),
      merge: () => Promise.resolve({ result: 'DONE', replaced: false, foundDone: false }),
      retract: () => Promise.resolve('RETRACTED'),
      killSuperseded: (run) => {
        computed.push(run);
        return Promise.resolve();
      },
      ...steps,
    },
  });
  const outcome = (version: number): Promise<TaskOutcome> =>
    eventually(
      () => {
        const found = outcomes.find((candidate) => candidate.version === version);
        if (found === undefined) throw new Error(`${outcomes.length} outcomes`);
        return found;
      },
      { withinMs: 5_000, everyMs: 1 },
    );
  return { runner, outcomes, computed, outcome };
}

/** Rejects when the run is cancelled, as a query whose connection is killed does. */
const untilCancelled = (run: Run): Promise<never> =>
  new Promise((_resolve, reject) => {
    run.signal.addEventListener('abort', () => {
      reject(new TidemarkError('DB_UNREACHABLE', 'the connection was killed'));
    });
  });

describe('the task runner', () => {
  it('tries again in place what may pass, with the same token, and gives up with the code', async () => {
    let tries = 0;
    const { runner, outcome } = bench({
      compute: (run) => {
        tries += 1;
        expect(run.token).toBe(token(101));
        return Promise.reject(new TidemarkError('WINDOW_INCOMPLETE', 'not there yet'));
      },
    });
    runner.dispatch(taskOf(window(1), 1));
    expect(await outcome(1)).toMatchObject({
      result: TaskResult.TASK_RESULT_FAILED,
      errorCode: 'WINDOW_INCOMPLETE',
    });
    expect(tries).toBe(3);
  });

  it('does not try again what is wrong for good', async () => {
    let tries = 0;
    const { runner, outcome } = bench({
      compute: () => {
        tries += 1;
        return Promise.reject(new TidemarkError('KEY_NULL', 'a key is NULL'));
      },
    });
    runner.dispatch(taskOf(window(1), 1));
    expect(await outcome(1)).toMatchObject({ errorCode: 'KEY_NULL' });
    expect(tries).toBe(1);
  });

  it('runs no more tasks at once than it has slots, in the order of their dispatch', async () => {
    const waiting: (() => void)[] = [];
    const started: bigint[] = [];
    const { runner, outcomes } = bench({
      compute: async (run) => {
        started.push(run.task.firstWindow);
        await new Promise<void>((resolve) => waiting.push(resolve));
        return { contribution: { additive: [], multisets: [] }, rowsIn: 0, rowsOut: 0 };
      },
    });
    for (let number = 1; number <= 4; number += 1) runner.dispatch(taskOf(window(number), number));
    await eventually(() => started.length === 2, { withinMs: 5_000 });
    expect(runner.progress().map((task) => task.phase)).toEqual([
      'computing',
      'computing',
      'waiting',
      'waiting',
    ]);
    waiting.shift()?.();
    await eventually(() => started.length === 3, { withinMs: 5_000 });
    waiting.splice(0).forEach((resolve) => {
      resolve();
    });
    await eventually(() => started.length === 4, { withinMs: 5_000 });
    waiting.splice(0).forEach((resolve) => {
      resolve();
    });
    await eventually(() => outcomes.length === 4, { withinMs: 5_000 });
    expect(started).toEqual([1n, 2n, 3n, 4n]);
  });

  it('takes a dispatch of the same token once, and a newer token ends the older attempt', async () => {
    const { runner, outcome, computed } = bench({
      compute: (run) =>
        run.task.version === 1
          ? untilCancelled(run)
          : Promise.resolve({ contribution: { additive: [], multisets: [] }, rowsIn: 0, rowsOut: 0 }),
    });
    runner.dispatch(taskOf(window(1), 1));
    runner.dispatch(taskOf(window(1), 1));
    await eventually(() => computed.length === 1, { withinMs: 5_000 });
    runner.dispatch(taskOf(window(1), 2));
    expect(await outcome(1)).toMatchObject({
      result: TaskResult.TASK_RESULT_FAILED,
      errorCode: 'CANCELLED',
    });
    expect(await outcome(2)).toMatchObject({ result: TaskResult.TASK_RESULT_DONE });
    expect(computed).toHaveLength(2);
    expect(runner.progress()).toEqual([]);
  });

  it('cancels what runs and what waits under this token or a lower one, and nothing else', async () => {
    const { runner, outcome, outcomes } = bench({ compute: untilCancelled }, 1);
    runner.dispatch(taskOf(window(1), 1));
    runner.dispatch(taskOf(window(2), 2));
    runner.dispatch(taskOf(window(3), 3));
    await runner.cancel('1/1/2/0', token(101));
    expect(outcomes).toEqual([]);
    await runner.cancel('1/1/2/0', token(102));
    expect(await outcome(2)).toMatchObject({ errorCode: 'CANCELLED' });
    await runner.cancel('1/1/1/0', token(500));
    expect(await outcome(1)).toMatchObject({ errorCode: 'CANCELLED' });
    await runner.stop();
    expect(await outcome(3)).toMatchObject({ errorCode: 'CANCELLED' });
  });

  it('kills what earlier grants left before there is a slot: the slots may wait for it', async () => {
    const cleared: number[] = [];
    let unlock: (() => void) | undefined;
    const locked = new Promise<void>((resolve) => {
      unlock = resolve;
    });
    const { runner, outcome } = bench(
      {
        killSuperseded: (run) => {
          cleared.push(run.task.version);
          if (run.task.version === 2) unlock?.();
          return run.task.version === 3
            ? Promise.reject(new TidemarkError('DB_BUSY', 'x'))
            : Promise.resolve();
        },
        merge: async () => {
          await locked;
          return { result: 'DONE', replaced: false, foundDone: false };
        },
      },
      1,
    );
    runner.dispatch(taskOf(window(1), 1));
    runner.dispatch(taskOf(window(2), 2));
    runner.dispatch(taskOf(window(3), 3));
    for (const version of [1, 2, 3]) {
      expect(await outcome(version)).toMatchObject({ result: TaskResult.TASK_RESULT_DONE });
    }
    expect(cleared).toEqual([1, 2, 3]);
  });
});
