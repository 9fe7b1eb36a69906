import { describe, expect, it } from 'vitest';
import type { AddSchema } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { finishOf, jobOf, runningWorld, type World } from './support/world.ts';

const schema = (world: World, change: Partial<AddSchema> = {}): AddSchema => ({
  type: 'schema.add',
  v: 1,
  sourceId: 1,
  epoch: world.source().collector?.epoch ?? '1',
  table: 'orders',
  version: 2,
  spec: '{"with":2}',
  replaced: '{"of":1}',
  captured: ['here', 'orders 2'],
  addition: { former: '', spec: '', captured: [] },
  stops: [],
  ...change,
});

describe('schema versions', () => {
  rule('state.schemaOfDeposedEpoch', 'come from the present collector only', () => {
    const world = runningWorld();
    const late = schema(world);
    world.collect(1);
    expect(world.refuse(late)).toBe('STALE_EPOCH');
  });

  it('follow each other, and each keeps what it replaces as long as a window may name that', () => {
    const world = runningWorld();
    world.seal();
    const second = schema(world);
    world.accept(second);
    world.accept(second);
    expect(world.source()).toMatchObject({
      spec: '{"with":2}',
      schemas: [{ table: 'orders', version: 1, lastWindow: 1, spec: '{"of":1}' }],
    });
    expect(world.refuse(schema(world, { version: 4, spec: 'x' }))).toBe('STALE_VERSION');
    expect(world.refuse(schema(world, { version: 1, spec: 'x' }))).toBe('STALE_VERSION');
    expect(world.refuse(schema(world, { sourceId: 9 }))).toBe('UNKNOWN_SOURCE');
    world.accept(schema(world, { version: 3, spec: '{"with":3}', replaced: '{"of":2}' }));
    world.accept(schema(world, { table: 'lines', spec: '{"lines":2}' }));
    const kept = world.source().schemas.map(({ table, version }) => `${table} ${version}`);
    expect(kept).toEqual(['orders 1', 'orders 2', 'lines 1']);
  });

  rule('state.stoppedReportReads', 'stop the reports that they break, and no other', () => {
    const world = runningWorld(jobOf({ shop: ['one', 'two'] }));
    world.seal();
    world.accept(schema(world, { stops: [{ reportId: 2, problem: 'REPORT_COLUMN_CHANGED: gone' }] }));
    world.seal();
    expect([...world.state.reports.values()][1]?.stopped).toEqual({
      window: 2,
      problem: 'REPORT_COLUMN_CHANGED: gone',
    });
    expect(world.source().mergedWindow).toBe(0);
    for (const [window, report] of [
      [1, 1],
      [1, 2],
      [2, 1],
    ] as const) {
      world.accept(finishOf(world.grant({ window, report, executorId: 1 })));
    }
    const span = {
      type: 'span.open',
      v: 1,
      reportId: 2,
      generation: 1,
      firstWindow: 2,
      lastWindow: 2,
    } as const;
    expect(world.refuse(span)).toBe('SPAN_REFUSED');
    // Nothing waits for it behind the window before which it was stopped.
    expect(world.source().mergedWindow).toBe(2);
  });
});
