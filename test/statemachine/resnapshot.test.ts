import { describe, expect, it } from 'vitest';
import { idKey, isStuck, mayResnapshot } from '../../src/statemachine/index.ts';
import type { AskResnapshot, StopCollector } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { jobWithStates, runningWorld, sealOf, type World } from './support/world.ts';

const ASK: AskResnapshot = { type: 'source.resnapshot', v: 1, sourceId: 1 };
const GRANT = { type: 'collector.grant', v: 1, sourceId: 1, executorId: 1 } as const;

function stop(world: World, errorCode: string): StopCollector {
  const epoch = world.source().collector?.epoch ?? '';
  const errorMessage = 'why';
  return { type: 'collector.stop', v: 1, sourceId: 1, epoch, errorCode, errorMessage, retryAfterMs: 500 };
}

/** Three sealed windows, the last of an unfinished snapshot, and a collector that ended with a code. */
function lost(errorCode = 'BINLOG_PURGED'): World {
  const world = runningWorld(jobWithStates());
  world.seal();
  world.seal();
  world.accept({ ...sealOf(world.source(), 3), cursor: 'half' });
  world.accept(stop(world, errorCode));
  return world;
}

describe('a source whose log shows nothing behind its last window', () => {
  rule('state.lostPositionGranted', 'is a state of its own, in which no collector is granted', () => {
    for (const code of ['BINLOG_PURGED', 'BINLOG_DIVERGED']) {
      const world = lost(code);
      expect(world.source()).toMatchObject({
        lostPosition: { code, message: 'why' },
        problem: `${code}: why`,
        collector: null,
        lastWindow: 3,
      });
      expect(mayResnapshot(world.source())).toBe(true);
      expect(world.refuse(GRANT)).toBe('RESNAPSHOT_NEEDED');
    }
  });

  it('has none to lose before its first window, nor through another error', () => {
    const world = runningWorld(jobWithStates());
    world.accept(stop(world, 'BINLOG_PURGED'));
    expect(world.source().lostPosition).toBeNull();
    expect(lost('DB_UNREACHABLE').source().lostPosition).toBeNull();
  });

  rule('state.resnapshotKeepsCursor', 'is read again from the first key on, when asked', () => {
    const world = lost();
    expect(world.accept(ASK)).toEqual({ window: 3 });
    expect(world.source()).toMatchObject({
      resnapshot: true,
      lostPosition: null,
      cursor: '',
      lastWindow: 3,
      problem: '',
    });
    expect(mayResnapshot(world.source())).toBe(false);
    world.accept(GRANT);
  });

  rule('state.resnapshotOfAddedTables', 'is read again as a whole while tables of it are copied', () => {
    const world = lost();
    world.state.sources.put(idKey(1), { ...world.source(), cursor: 'at the second', formerTables: 1 });
    world.accept(ASK);
    expect(world.source()).toMatchObject({ resnapshot: true, cursor: '', formerTables: 0 });
  });

  it('is so until a seal says that all is read, whoever collects', () => {
    const world = lost();
    world.accept(ASK);
    world.accept(GRANT);
    world.accept({ ...sealOf(world.source(), 4), cursor: 'begun' });
    world.accept(stop(world, 'DB_UNREACHABLE'));
    expect(world.source()).toMatchObject({ resnapshot: true, cursor: 'begun', lostPosition: null });
    // Asked again it goes on.
    expect(world.accept(ASK)).toEqual({ window: 4 });
    world.accept(GRANT);
    world.accept({ ...sealOf(world.source(), 5), cursor: '' });
    expect(world.source()).toMatchObject({ resnapshot: false, cursor: '' });
    expect(world.refuse(ASK)).toBe('RESNAPSHOT_REFUSED');
  });

  it('seals windows that no log shows again, also when one of them holds it all', () => {
    const world = lost();
    world.accept(ASK);
    world.accept(GRANT);
    world.accept({ ...sealOf(world.source(), 4), cursor: '' });
    expect(world.window(4)?.copying).toBe(true);
  });

  it('begins anew when its log is lost once more on the way', () => {
    const world = lost();
    world.accept(ASK);
    world.accept(GRANT);
    world.accept({ ...sealOf(world.source(), 4), cursor: 'begun' });
    world.accept(stop(world, 'BINLOG_PURGED'));
    expect(world.source()).toMatchObject({ resnapshot: false, lostPosition: { code: 'BINLOG_PURGED' } });
    world.accept(ASK);
    expect(world.source()).toMatchObject({ resnapshot: true, cursor: '' });
  });

  rule('state.resnapshotAnyTime', 'is not read again while nothing is lost, nor without row states', () => {
    const running = runningWorld(jobWithStates());
    running.seal();
    expect(running.refuse(ASK)).toBe('RESNAPSHOT_REFUSED');
    running.accept(stop(running, 'DB_UNREACHABLE'));
    expect(running.refuse(ASK)).toBe('RESNAPSHOT_REFUSED');
    const bare = runningWorld();
    bare.seal();
    bare.accept(stop(bare, 'BINLOG_PURGED'));
    expect(mayResnapshot(bare.source())).toBe(false);
    expect(bare.refuse(ASK)).toBe('RESNAPSHOT_REFUSED');
    expect(bare.refuse({ ...ASK, sourceId: 9 })).toBe('UNKNOWN_SOURCE');
  });

  it('is not read again while row states wait for a window that is lost', () => {
    const world = runningWorld(jobWithStates());
    world.seal();
    world.accept({ type: 'window.lost', v: 1, sourceId: 1, firstWindow: 1, lastWindow: 1 });
    world.accept(GRANT);
    world.accept(stop(world, 'BINLOG_PURGED'));
    expect(world.refuse(ASK)).toBe('RESNAPSHOT_REFUSED');
  });

  it.each(['SCHEMA_CHANGED', 'SOURCE_UNTELLABLE'])('may also be read again past %s', (code) => {
    const world = lost(code);
    expect([world.source().lostPosition, isStuck(world.source())]).toEqual([null, true]);
    const epoch = world.accept(GRANT)['epoch'] as string;
    world.accept(ASK);
    // The one that tries the same place again is deposed.
    expect(world.refuse(sealOf(world.source(), 4, { epoch }))).toBe('STALE_EPOCH');
    expect(world.source()).toMatchObject({ resnapshot: true, collector: null, cursor: '' });
  });
});

describe('a source whose row states have holes since a restore', () => {
  const FAILED = { errorCode: 'HISTORY_DROPPED', errorMessage: 'dropped', retryAfterMs: 500 };

  /** Three windows in a backup, one merged; a shard cannot be taken back to the third. */
  function holed(): World {
    const world = runningWorld(jobWithStates());
    for (let window = 1; window <= 3; window += 1) world.seal();
    world.accept({ type: 'cluster.restore', v: 1, formerId: 'former' });
    world.collect(1);
    const of = { sourceId: 1, shard: 's1' };
    const grant = { type: 'state.grant', v: 1, executorId: 1, failedAttempt: false } as const;
    const granted = world.accept({ ...grant, ...of, firstWindow: 1, lastWindow: 3 });
    const token = granted['token'] as string;
    world.accept({ type: 'state.finish', v: 1, ...of, token, window: 0, ...FAILED });
    return world;
  }

  it('is read again when asked, with all row states taken back', () => {
    const world = holed();
    expect(mayResnapshot(world.source())).toBe(true);
    world.accept(ASK);
    expect(world.source()).toMatchObject({
      resnapshot: true,
      holed: true,
      formerChains: [{ lastWindow: 3, holed: true }],
      states: [
        { problem: '', retryAtMs: 0 },
        { problem: '', retryAtMs: 0 },
      ],
    });
    expect(mayResnapshot(world.source())).toBe(false);
  });

  for (const name of ['state.holedReportsGoOn', 'state.holedReportsBeginAtOnce'] as const) {
    rule(name, 'has its reports begin anew from the row states behind it', () => {
      const world = holed();
      const { generation } = world.report();
      world.accept(ASK);
      expect(world.report()).toMatchObject({ nextWindow: 1, mergedWindow: 0, phase: 'new' });
      expect(world.report().generation).toBeGreaterThan(generation);
      world.accept(GRANT);
      world.accept({ ...sealOf(world.source(), 4), cursor: 'begun' });
      const first = (lastWindow: number) => {
        const { generation: own } = world.report();
        const span = { type: 'span.open', v: 1, reportId: 1, generation: own } as const;
        return { ...span, firstWindow: 1, lastWindow };
      };
      expect(world.refuse(first(world.report().baseWindow))).toBe('SPAN_REFUSED');
      world.accept({ ...sealOf(world.source(), 5), cursor: '' });
      expect(world.source()).toMatchObject({ resnapshot: false, holed: false, mergedWindow: 5 });
      expect(world.report()).toMatchObject({ baseWindow: 5 });
      world.accept(first(5));
    });
  }

  it('needs no window of before the restore, and each one behind it', () => {
    const world = holed();
    const lost = { problem: 'WINDOW_LOST: gone' };
    world.state.sources.put(idKey(1), { ...world.source(), lost: [{ window: 2, ...lost }] });
    expect(mayResnapshot(world.source())).toBe(true);
    world.state.sources.put(idKey(1), { ...world.source(), lost: [{ window: 4, ...lost }] });
    expect(mayResnapshot(world.source())).toBe(false);
  });

  it('begins anew where it was being read again when the backup was taken', () => {
    const world = holed();
    world.state.sources.put(idKey(1), { ...world.source(), resnapshot: true, cursor: 'half' });
    expect(mayResnapshot(world.source())).toBe(true);
    world.accept(ASK);
    expect(world.source()).toMatchObject({ resnapshot: true, holed: true, cursor: '' });
  });
});
