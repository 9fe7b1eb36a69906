/** Dimension copies of report generations: what becomes of a report that has lost one (design 6.2). */
import { describe, expect, it } from 'vitest';
import {
  isPrepared,
  type Operation,
  type ReportCopies,
  type ReportRecord,
} from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { COPY, finishOf, prepared, runningWorld, spanOf, type World } from './support/world.ts';

/** Windows 1 and 2 are merged. */
function mergedWorld(): World {
  const world = runningWorld();
  for (let window = 1; window <= 2; window++) {
    world.seal();
    world.accept(finishOf(world.grant({ window, executorId: 1 })));
  }
  return world;
}

const lose = ({ id, generation, prepared: token }: ReportRecord): Operation => ({
  type: 'copies.lose',
  v: 1,
  reportId: id,
  generation,
  prepared: token,
});

const granted = (world: World, generation: number): string =>
  world.accept({ type: 'report.grant', v: 1, reportId: 1, generation, executorId: 1 })['token'] as string;

function ended(token: string, told: Omit<ReportCopies, 'reportId'>): Operation {
  const failure = { errorCode: '', errorMessage: '', retryAfterMs: 0 };
  const { generation } = told;
  return {
    type: 'report.finish',
    v: 1,
    reportId: 1,
    generation,
    token,
    copies: [{ reportId: 1, ...told }],
    ...failure,
  };
}

describe('a report that has lost a dimension copy', () => {
  it('has it looked after under a grant of its own, and goes on where it was', () => {
    const world = mergedWorld();
    const before = world.report();
    world.accept(lose(before));
    expect(isPrepared(world.state, world.report())).toBe(false);
    expect(world.source().prepare?.done).toBe(true);
    world.accept(ended(granted(world, 1), { generation: 1, copies: [COPY], lost: false }));
    expect(world.report()).toEqual(before);
    expect(isPrepared(world.state, world.report())).toBe(true);
  });

  rule(
    'state.lostCopyReplaced',
    'begins anew as its next generation where the rows are nowhere any more',
    () => {
      const world = mergedWorld();
      world.accept(lose(world.report()));
      world.accept(ended(granted(world, 1), { generation: 1, copies: [COPY], lost: true }));
      const next = {
        generation: 2,
        prepared: '',
        copies: [],
        copiesLost: true,
        phase: 'live',
        mergedWindow: 0,
      };
      expect(world.report()).toMatchObject(next);
      expect([...world.state.tasks.values(), ...world.state.spans.values()]).toEqual([]);
      const copies = [{ ...COPY, checksum: 'f'.repeat(16) }];
      const token = granted(world, 2);
      world.accept(ended(token, { generation: 2, copies, lost: false }));
      expect(world.report()).toMatchObject({ prepared: token, copies, copiesLost: false, nextWindow: 1 });
      world.accept(spanOf({ window: 1, generation: 2 }));
    },
  );

  it('is not looked after because of a task that read copies which are not read any more', () => {
    const world = mergedWorld();
    const before = world.report();
    world.accept(lose({ ...before, prepared: '1099511627777' }));
    expect(world.report()).toEqual(before);
    expect(world.refuse(lose({ ...before, generation: 2 }))).toBe('UNKNOWN_REPORT');
  });

  it('leaves the other reports of its source alone when a prepare of all of them finds that out', () => {
    const world = mergedWorld();
    world.accept({ type: 'cluster.restore', v: 1, formerId: 'former' });
    world.reconcile(1);
    const grant = { type: 'prepare.grant', v: 1, sourceId: 1, executorId: 1 } as const;
    const { token } = world.accept(grant) as { token: string };
    const copies = [{ reportId: 1, generation: 1, copies: [COPY], lost: true }];
    world.accept({ ...prepared(1, token), copies } as Operation);
    expect(world.source().prepare?.done).toBe(true);
    expect(world.report()).toMatchObject({ generation: 2 ** 20 + 1, prepared: '', copiesLost: true });
  });
});
