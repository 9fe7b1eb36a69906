/** What a leader makes of what an executor finds: only what stands is told, and only by who leads. */
import { describe, expect, it } from 'vitest';
import { must, systemClock, TidemarkError, type Clock } from '../../src/base/index.ts';
import { runAudit, type AuditFace } from '../../src/coordinator/clients/audit.ts';
import { AuditLooks } from '../../src/coordinator/clients/audit-looks.ts';
import { idKey } from '../../src/statemachine/index.ts';
import type { AuditDifference, AuditFound, AuditPiece, ToExecutor } from '../../src/wire/index.ts';
import { rule } from '../support/rule.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { finishOf, jobOf, runningWorld, type World } from '../statemachine/support/world.ts';

const NOTHING = { differences: [], compared: 0n, last: false, more: false, errorCode: '', errorMessage: '' };

const inWindow = (window: number): AuditDifference => ({
  code: 'LEDGER_TOKEN',
  reportId: 1n,
  generation: 1n,
  sourceId: 1n,
  shard: '',
  firstWindow: BigInt(window),
  lastWindow: BigInt(window),
  part: 0,
  log: 'merged under token 1',
  database: 'token 2',
});

function worldOfTwo(): World {
  const world = runningWorld(jobOf({ shop: ['sales'] }));
  for (const window of [1, 2]) {
    world.seal();
    world.accept(finishOf(world.grant({ window, executorId: 1 })));
  }
  return world;
}

interface Scene {
  readonly world: World;
  /** What the executor finds in the report database, look by look; then nothing. */
  readonly looks: AuditDifference[][];
  readonly beforeLook?: (look: number) => void;
  readonly answer?: Partial<AuditFound>;
  readonly readIndex?: () => Promise<never>;
}

/** A clock whose every wait is over at once. */
function hurried(): Clock {
  let nowMs = 0;
  const after: Clock['after'] = (ms, run) => {
    nowMs += ms;
    queueMicrotask(run);
    return () => undefined;
  };
  return { ...systemClock, monotonicMs: () => nowMs, after };
}

/** Runs an audit of the world, and returns what is told of the report database. */
async function audited(scene: Scene): Promise<{ readonly windows: number[]; readonly last: AuditPiece }> {
  const { world, looks } = scene;
  let look = 0;
  const link: ReturnType<AuditFace['links']['live']>[number] = {
    define: () => undefined,
    look: (order, onPiece) => {
      const body: NonNullable<ToExecutor['body']> = order(7n);
      let differences: AuditDifference[] = [];
      if (body.$case === 'auditSink') {
        scene.beforeLook?.(look);
        differences = looks[look] ?? [];
        look += 1;
      }
      onPiece({ ...NOTHING, request: 7n, differences, compared: 2n });
      onPiece({ ...NOTHING, request: 7n, last: true, ...scene.answer });
      return Promise.resolve();
    },
  };
  const status = { leading: true, term: 1, members: [] };
  const raft = { readIndex: scene.readIndex ?? (() => Promise.resolve(1)), status: () => status };
  const pieces: AuditPiece[] = [];
  await runAudit(
    {
      identity: { clusterId: 'c'.repeat(32) },
      raft: raft as unknown as AuditFace['raft'],
      view: () => world.state,
      links: { live: () => [link] },
      clock: hurried(),
    },
    { closed: false, write: (piece) => pieces.push(piece) },
  );
  const told = pieces.filter(({ kind }) => kind === 'database');
  return {
    windows: told.flatMap(({ differences }) => differences.map(({ firstWindow }) => Number(firstWindow))),
    last: must(told.at(-1), 'the last piece'),
  };
}

describe('an audit', () => {
  rule('audit.looksOnce', 'tells what both looks have found, word for word', async () => {
    const moved = { ...inWindow(2), database: 'token 3' };
    const looks = [
      [inWindow(1), inWindow(2)],
      [inWindow(1), moved],
    ];
    const { windows, last } = await audited({ world: worldOfTwo(), looks });
    expect(windows).toEqual([1]);
    expect(last).toMatchObject({ done: true, errorCode: '' });
  });

  rule('audit.epochChangeIgnored', 'begins again when the database was reconciled meanwhile', async () => {
    const world = worldOfTwo();
    const beforeLook = (look: number): void => {
      if (look !== 1) return;
      world.accept({ type: 'sink.grant', v: 1, sinkId: 1, executorId: 1 });
      const epoch = must(world.state.sinks.get(idKey(1))?.epoch, 'epoch');
      const nothing = { lacking: [], missing: [], folds: [], last: true };
      world.accept({ type: 'sink.reconcile', v: 1, sinkId: 1, epoch, ...nothing });
    };
    const looks = [[inWindow(1)], [inWindow(1)]];
    expect((await audited({ world, looks, beforeLook })).windows).toEqual([]);
  });

  rule('audit.leaderNotAsked', 'is not answered by a leader that was deposed', async () => {
    const readIndex = (): Promise<never> => Promise.reject(new TidemarkError('NOT_LEADER', 'deposed'));
    const scene = { world: worldOfTwo(), looks: [[inWindow(1)], [inWindow(1)]], readIndex };
    expect(await codeOf(audited(scene))).toBe('NOT_LEADER');
  });

  it('says why a database could not be compared', async () => {
    const answer = { errorCode: 'DB_UNREACHABLE', errorMessage: 'gone' };
    const { last, windows } = await audited({ world: worldOfTwo(), looks: [], answer });
    expect(windows).toEqual([]);
    expect(last).toMatchObject({ done: true, errorCode: 'DB_UNREACHABLE', errorMessage: 'gone' });
    const world = worldOfTwo();
    world.accept({ type: 'sink.grant', v: 1, sinkId: 1, executorId: 1 });
    expect((await audited({ world, looks: [] })).last.errorCode).toBe('SINK_EPOCH');
  });

  it('gives an executor up that goes away in the middle', async () => {
    const looks = new AuditLooks('e1');
    const pieces: AuditFound[] = [];
    const whole = looks.begin(1n, (piece) => pieces.push(piece));
    looks.heard({ ...NOTHING, request: 1n, last: true });
    await whole;
    const half = looks.begin(2n, (piece) => pieces.push(piece));
    looks.heard({ ...NOTHING, request: 2n });
    looks.end();
    expect(await codeOf(half)).toBe('NO_EXECUTOR');
    expect(pieces).toHaveLength(2);
  });
});
