/**
 * Drops a report generation that the log has ended: first what is merged into, so that a merge that comes
 * late fails as a whole, then what is known of it.
 */
import { isTidemarkError } from '../../base/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';
import { dropGeneration } from './drop-generation.ts';
import type { ReportLayout } from './layout.ts';
import { claim, withReportLock, type ReportGrant } from './report-view.ts';
import { checkGrant } from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';

/**
 * Drops tables and rows of a generation, and its view if no other generation has that name. Repeating it is
 * harmless.
 *
 * @throws TidemarkError `SINK_EPOCH`, `SINK_OF_OTHER_CLUSTER`, `DB_BUSY`, and those of the engine.
 */
export async function dropReport(
  engine: SqlEngine,
  grant: ReportGrant,
  layout: ReportLayout,
  dropsView: boolean,
): Promise<void> {
  const { dialect } = engine;
  const { report } = layout;
  await engine.use('drop report', (connection) =>
    withReportLock(connection, dialect, report.name, async () => {
      await leaveName(connection, dialect, grant, { name: report.name, dropsView });
      await dropGeneration(connection, dialect, grant, layout);
    }),
  );
}

/**
 * From here on whoever was to make this generation comes too late. The view stays if it was made under a
 * newer grant: a report of that name was declared again meanwhile.
 */
async function leaveName(
  connection: SqlConnection,
  dialect: Dialect,
  grant: ReportGrant,
  { name, dropsView }: { readonly name: string; readonly dropsView: boolean },
): Promise<void> {
  try {
    await inTransaction(connection, async () => {
      await checkGrant(connection, dialect, grant);
      await claim(connection, dialect, name, grant.prepared);
      if (dropsView) await connection.query(`DROP VIEW IF EXISTS ${dialect.id(name)}`);
    });
  } catch (error) {
    if (!isTidemarkError(error, 'STALE_VERSION')) throw error;
  }
}
