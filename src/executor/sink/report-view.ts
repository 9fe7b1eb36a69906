/**
 * Points readers at a report generation: the view named after the report, and the rows of its fold mark and
 * watermark. The report database keeps, by report name, the token of the prepare grant that did so last: an
 * executor that was stopped inside an older prepare and wakes later is refused, instead of pointing the view
 * back at tables that nothing is merged into any more.
 */
import { TidemarkError, type FencingToken } from '../../base/index.ts';
import { PREPARED_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import { releaseLock } from '../marker.ts';
import { dropFormer } from './drop-generation.ts';
import type { ReportLayout } from './layout.ts';
import { createReportTables } from './schema.ts';
import { checkGrant, type SinkGrant } from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';
import { asBigint, asText } from './values.ts';
import { viewStatements } from './view.ts';
import { registerReport } from './watermark.ts';

export interface ReportGrant extends SinkGrant {
  /** The token of the prepare grant. */
  readonly prepared: FencingToken;
  readonly sourceId: number;
}

/** How long one prepare waits for another one of the same report. */
const LOCK_WAIT_SECONDS = 5;

/**
 * Makes the tables of a report generation, then the view over them, and drops the generations that it took
 * the place of. Repeating it is harmless.
 *
 * @throws TidemarkError `STALE_VERSION` if a newer prepare has been here, `SINK_EPOCH`,
 * `SINK_OF_OTHER_CLUSTER`, `DB_BUSY`, and those of the engine.
 */
export async function prepareReport(
  engine: SqlEngine,
  grant: ReportGrant,
  layout: ReportLayout,
): Promise<void> {
  const { dialect } = engine;
  const { reportId, generation, report } = layout;
  await createReportTables(engine, layout);
  await engine.use('prepare', (connection) =>
    withReportLock(connection, dialect, report.name, async () => {
      await inTransaction(connection, async () => {
        await checkGrant(connection, dialect, grant);
        await claim(connection, dialect, report.name, grant.prepared);
        await registerReport(
          connection,
          dialect,
          { reportId, generation, sourceId: grant.sourceId, epoch: grant.epoch },
          report.name,
        );
        // The last step: on MySQL it commits what stands before it, and only the named lock holds on.
        for (const statement of viewStatements(dialect, layout)) await connection.query(statement);
      });
      await dropFormer(connection, dialect, grant, layout);
    }),
  );
}

/**
 * Makes the tables of a report generation that nobody is shown yet: the view stays where it is. Generations
 * of the same report that it took the place of are dropped.
 *
 * @throws TidemarkError as {@link prepareReport}.
 */
export async function prepareHidden(
  engine: SqlEngine,
  grant: ReportGrant,
  layout: ReportLayout,
): Promise<void> {
  const { dialect } = engine;
  const { reportId, generation, report } = layout;
  await createReportTables(engine, layout);
  await engine.use('prepare', async (connection) => {
    await inTransaction(connection, async () => {
      await checkGrant(connection, dialect, grant);
      await claim(connection, dialect, report.name, grant.prepared);
      const { sourceId, epoch } = grant;
      const scope = { reportId, generation, sourceId, epoch };
      await registerReport(connection, dialect, scope, report.name);
    });
    await dropFormer(connection, dialect, grant, layout);
  });
}

/** @throws TidemarkError `STALE_VERSION` if the view was last made under a newer token. */
export async function claim(
  connection: SqlConnection,
  dialect: Dialect,
  report: string,
  token: FencingToken,
): Promise<void> {
  const insert = {
    table: PREPARED_TABLE,
    columns: ['report', 'token'],
    source: 'VALUES (?, 0)',
    key: ['report'],
  };
  await connection.query(dialect.insertIgnore(insert), [report]);
  const { rows } = await connection.query(
    `SELECT token FROM ${PREPARED_TABLE} WHERE report = ?${dialect.forUpdate}`,
    [report],
  );
  const standing = asBigint(rows[0]?.[0]);
  if (standing > token) {
    const message = `report ${report} was prepared under token ${standing}, this grant has ${token}`;
    throw new TidemarkError('STALE_VERSION', message, {
      next: 'Nothing: the newer prepare stands.',
      details: { standing: String(standing), granted: String(token) },
    });
  }
  await connection.query(`UPDATE ${PREPARED_TABLE} SET token = ? WHERE report = ?`, [token, report]);
}

/**
 * MySQL ends a transaction at every CREATE, so a row lock would be gone before the view is made: a named lock
 * of the connection stays until the server has let go of the connection. A write transaction of the embedded
 * engine is alone anyway.
 */
export async function withReportLock(
  connection: SqlConnection,
  dialect: Dialect,
  report: string,
  work: () => Promise<void>,
): Promise<void> {
  if (dialect.kind === 'embedded') return work();
  // Names of locks are the server's, not the database's, and bounded to 64 characters.
  const named = await connection.query("SELECT CONCAT('tidemark view ', SHA1(CONCAT(DATABASE(), ' ', ?)))", [
    report,
  ]);
  const name = asText(named.rows[0]?.[0]);
  const { rows } = await connection.query(`SELECT GET_LOCK(?, ${LOCK_WAIT_SECONDS})`, [name]);
  if (rows[0]?.[0] !== 1n) {
    throw new TidemarkError('DB_BUSY', `report ${report} is being prepared by another executor`, {
      next: 'Wait: it is tried again.',
    });
  }
  try {
    await work();
  } finally {
    await releaseLock(connection, name);
  }
}
