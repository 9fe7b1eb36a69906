import { describe, expect, it } from 'vitest';
import { readSchema } from '../../src/coordinator/executors/schema-request.ts';
import { jobOf, runningWorld } from '../statemachine/support/world.ts';

const report = (name: string, table: string, uses?: readonly string[]): string =>
  JSON.stringify({ name, inputs: [{ alias: 'o', kind: 'changes', table, ...(uses && { uses }) }] });

describe('a schema version that is asked for', () => {
  it('names the reports that read a broken column, with report, window and column', () => {
    const job = jobOf({ shop: ['reads', 'other columns', 'other table', 'all'] });
    const specs = [
      report('reads', 'orders', ['id', 'name']),
      report('other columns', 'orders', ['id']),
      report('other table', 'lines', ['name']),
      report('all', 'orders'),
    ];
    const world = runningWorld({
      ...job,
      reports: job.reports.map((one, at) => ({ ...one, spec: specs[at] ?? '' })),
    });
    world.seal();
    const read = readSchema(
      {
        request: 1n,
        sourceId: 1n,
        epoch: BigInt(world.source().collector?.epoch ?? 0),
        table: 'orders',
        version: 2,
        sourceJson: '{"window":{},"new":1,"tables":["orders"]}',
        replacedJson: '{"old":1}',
        broken: [{ column: 'name', why: 'it is gone' }],
      },
      world.state,
    );
    expect(read.stops.map(({ reportId }) => reportId)).toEqual([1, 4]);
    expect(read.stops[0]?.problem).toBe(
      'REPORT_COLUMN_CHANGED: report reads stops before window 2: column orders.name: it is gone',
    );
    expect(read.addition).toEqual({ former: '', spec: '', captured: [] });
    world.accept(read);
    expect(world.source()).toMatchObject({
      spec: '{"window":{},"new":1,"tables":["orders"]}',
      captured: ['{"new":1}', '"orders"'],
    });
  });

  it('has tables that are being added behind those that are captured', () => {
    const world = runningWorld();
    world.seal();
    const job = jobOf();
    const spec = '{"tables":["orders","lines"]}';
    const [captured, begins] = [
      ['here', 'orders', 'lines'],
      ['at orders', 'at lines'],
    ];
    world.accept({ ...job, sources: job.sources.map((source) => ({ ...source, spec, captured, begins })) });
    const request = {
      request: 1n,
      sourceId: 1n,
      epoch: BigInt(world.source().collector?.epoch ?? 0),
      table: 'orders',
      version: 2,
      sourceJson: '{"tables":["orders 2"]}',
      replacedJson: '"orders"',
      broken: [],
    };
    const read = readSchema(request, world.state);
    const later = { spec: '{"tables":["orders 2","lines"]}', captured: ['{}', '"orders 2"', '"lines"'] };
    expect(read.addition).toEqual({ former: spec, ...later });
    world.accept(read);
    expect(world.source()).toMatchObject({ spec: '{"tables":["orders 2"]}', addition: later });
  });
});
