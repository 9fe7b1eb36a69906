import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asToken } from '../../src/base/fencing-token.ts';
import { layoutOf } from '../../src/executor/sink/layout.ts';
import { prepareReport } from '../../src/executor/sink/report-view.ts';
import type { SinkGrant } from '../../src/executor/sink/sink-epoch.ts';
import { freshEngine, type FreshEngine } from '../support/engines.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { rule } from '../support/rule.ts';
import { REPORT, TOKEN_BASE } from './merge-fixture.ts';
import { prepareSink } from './sink-fixture.ts';

const token = (n: number): ReturnType<typeof asToken> => asToken(TOKEN_BASE + BigInt(n));
const GRANT: SinkGrant = { clusterId: 'c'.repeat(32), epoch: token(1) };

describe.each(['embedded', 'mysql'] as const)('the view of a report on %s', (kind) => {
  describe.skipIf(kind === 'mysql' && mariadbMissing())("is the newest prepare's", () => {
    let place: FreshEngine;

    beforeEach(async () => {
      place = await freshEngine(kind, 'view');
      await prepareSink(place.engine, GRANT);
    });

    afterEach(async () => {
      await place.close();
    });

    const prepare = (prepared: number, generation: number, sink: SinkGrant = GRANT): Promise<void> =>
      prepareReport(
        place.engine,
        { ...sink, prepared: token(prepared), sourceId: 1 },
        layoutOf({ reportId: 7, generation }, REPORT),
      );

    const one = async (sql: string): Promise<string> => {
      const { rows } = await place.engine.use('test', (connection) => connection.query(sql));
      return JSON.stringify(rows.map((row) => row.map(String)));
    };
    const view = (): Promise<string> =>
      one(kind === 'mysql' ? 'SHOW CREATE VIEW sales' : "SELECT sql FROM sqlite_master WHERE name = 'sales'");

    const tables = (): Promise<string> =>
      one(
        kind === 'mysql'
          ? 'SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()'
          : "SELECT name FROM sqlite_master WHERE type = 'table'",
      );

    rule('sink.formerGenerationsStay', 'and takes away what it took the place of', async () => {
      await prepare(20, 1);
      await prepare(30, 2);
      expect(await one('SELECT generation FROM tm_watermark')).toBe('[["2"]]');
      expect(await one('SELECT generation FROM tm_fold')).toBe('[["2"]]');
      expect(await tables()).not.toContain('_7_1');
      expect(await tables()).toContain('tm_contribution_7_2');
    });

    it('also when an older one, stopped before it made the view, wakes later', async () => {
      await prepare(20, 2);
      expect(await codeOf(prepare(10, 1))).toBe('STALE_VERSION');
      expect(await view()).toContain('tm_report_7_2');
      expect(await one('SELECT DISTINCT generation FROM tm_watermark')).toBe('[["2"]]');
      await prepare(20, 2);
      await prepare(30, 3);
      expect(await view()).toContain('tm_report_7_3');
    });

    it('whatever order several come in at once', async () => {
      const order = [4, 1, 6, 2, 5, 3];
      const codes = await Promise.all(order.map((n) => codeOf(prepare(n, n))));
      expect(await view()).toContain('tm_report_7_6');
      expect(codes[order.indexOf(6)]).toBe('no error');
      expect(codes.filter((code) => code !== 'no error' && code !== 'STALE_VERSION')).toEqual([]);
    });

    it('and is left alone under another sink epoch', async () => {
      await prepare(20, 2);
      await prepareSink(place.engine, { ...GRANT, epoch: token(2) });
      expect(await codeOf(prepare(30, 3))).toBe('SINK_EPOCH');
      expect(await view()).toContain('tm_report_7_2');
    });
  });
});
