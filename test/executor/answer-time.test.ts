/** Statements over more rows than one span or one piece has are given the time that these rows take. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { exchangeCells, foldCells, takeCellsBack } from '../../src/executor/sink/cells.ts';
import { removeContributions } from '../../src/executor/sink/contribution.ts';
import { layoutOf } from '../../src/executor/sink/layout.ts';
import { emptyTables } from '../../src/executor/sink/missing-tables.ts';
import { createReportTables } from '../../src/executor/sink/schema.ts';
import { openEngine, type SqlConnection, type SqlEngine } from '../../src/sql/index.ts';
import { rule } from '../support/rule.ts';
import { REPORT } from './merge-fixture.ts';

/** Each of two spans has few rows, both together have many. */
const ROWS = 24_000;
const MANY = { answerMs: LIMITS.largeStatementMs + ROWS };

const CELLS = layoutOf(
  { reportId: 8, generation: 1 },
  {
    ...REPORT,
    keys: [{ name: 'id', type: 'BIGINT', nullable: false }],
    measures: [{ name: 'n', kind: 'count', type: 'BIGINT' }],
    affectedKeys: { touched: [], narrowed: [] },
  },
);
const OWNER = { sourceId: 1, firstWindow: 1, part: 0, token: 5n };
const OWNERS = [OWNER, { ...OWNER, firstWindow: 2 }];

describe('a statement over many rows is given time for each of them', () => {
  let folder = '';
  let engine: SqlEngine;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-answer-'));
    engine = openEngine({ kind: 'embedded', file: join(folder, 'reports.db') });
    await createReportTables(engine, CELLS);
  });
  afterAll(async () => {
    await engine.close();
    await rm(folder, { recursive: true });
  });

  /** Runs it over two spans of cells, and rolls back: what each statement that writes was given. */
  async function given(run: (connection: SqlConnection) => Promise<unknown>): Promise<unknown[]> {
    return engine.use('test', async (connection) => {
      await connection.begin('write');
      await connection.query(
        `INSERT INTO ${CELLS.contributionTable} WITH RECURSIVE n (i) AS ` +
          `(SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS - 1}) ` +
          'SELECT 1, 1 + i % 2, 0, 5, i, 1, 7, 1 + i % 2 FROM n',
      );
      const options: unknown[] = [];
      await run(recording(connection, options));
      await connection.rollback();
      return options;
    });
  }

  rule('sink.largeStatementGivenUp', 'where a generation is emptied', async () => {
    const options = await given((connection) => emptyTables(connection, engine.dialect, CELLS, []));
    expect(options).toEqual([MANY, {}]);
  });

  rule('sink.largeStatementGivenUp', 'where cells of many spans are taken back', async () => {
    const options = await given((connection) =>
      takeCellsBack(connection, engine.dialect, CELLS, OWNER.sourceId, OWNERS),
    );
    expect(options).toEqual([MANY, MANY]);
  });

  rule('sink.largeStatementGivenUp', 'where they are then removed', async () => {
    const options = await given((connection) =>
      removeContributions(connection, engine.dialect, CELLS, OWNERS),
    );
    expect(options).toEqual([MANY, MANY, MANY, MANY]);
  });

  rule('sink.largeStatementGivenUp', 'where cells are shown', async () => {
    const options = await given((connection) =>
      exchangeCells(connection, engine.dialect, CELLS, OWNER, { older: 0n, rows: ROWS, staged: false }),
    );
    expect(options).toEqual([MANY]);
  });

  rule('sink.largeStatementGivenUp', 'where cells are folded', async () => {
    const options = await given((connection) => foldCells(connection, engine.dialect, CELLS, [1, 1, 2]));
    expect(options).toEqual([MANY, MANY, MANY]);
  });
});

/** The same connection; notes the options of every statement that writes. */
function recording(connection: SqlConnection, options: unknown[]): SqlConnection {
  return new Proxy(connection, {
    get(target, name) {
      if (name === 'query') {
        return (...statement: Parameters<SqlConnection['query']>) => {
          if (!statement[0].startsWith('SELECT')) options.push(statement[2]);
          return target.query(...statement);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
