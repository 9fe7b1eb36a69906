/** Takes a report generation out of its database: tables first, so that a late merge fails as a whole. */
import { mutated } from '../../base/index.ts';
import { FOLD_TABLE, LEDGER_TABLE, STAGE_TABLE, WATERMARK_TABLE } from '../../job/index.ts';
import type { Dialect, SqlConnection } from '../../sql/index.ts';
import { layoutOf, tablesOf, type ReportLayout } from './layout.ts';
import { checkGrant, SCOPE_WHERE, scopeParams, type SinkGrant } from './sink-epoch.ts';
import { inTransaction } from './transaction.ts';
import { asBigint } from './values.ts';

/** A sink's epoch, and the source whose windows the generation is made of. */
type SourceGrant = SinkGrant & { readonly sourceId: number };

/**
 * Drops the tables, then what is known of the generation. Repeating it is harmless.
 * @throws TidemarkError `SINK_EPOCH`, `SINK_OF_OTHER_CLUSTER`, `DB_BUSY`, and those of the engine.
 */
export async function dropGeneration(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SourceGrant,
  layout: ReportLayout,
): Promise<void> {
  const scope = { reportId: layout.reportId, generation: layout.generation, sourceId: grant.sourceId };
  await inTransaction(connection, async () => {
    await checkGrant(connection, dialect, grant);
    for (const table of tablesOf(layout)) {
      await connection.query(`DROP TABLE IF EXISTS ${dialect.id(table)}`);
    }
  });
  await inTransaction(connection, async () => {
    await checkGrant(connection, dialect, grant);
    for (const table of [LEDGER_TABLE, STAGE_TABLE, WATERMARK_TABLE, FOLD_TABLE]) {
      await connection.query(`DELETE FROM ${table} WHERE ${SCOPE_WHERE}`, scopeParams(scope));
    }
  });
}

/**
 * Drops the generations that this one took the place of. The log knows only the newest one of a report that
 * began anew: nobody else would, and their watermarks would stand still in the answer to whether the report
 * is complete.
 * @throws TidemarkError as {@link dropGeneration}.
 */
export async function dropFormer(
  connection: SqlConnection,
  dialect: Dialect,
  grant: SourceGrant,
  { reportId, generation, report }: ReportLayout,
): Promise<void> {
  if (mutated('sink.formerGenerationsStay')) return;
  const { rows } = await connection.query(
    `SELECT generation FROM ${FOLD_TABLE} WHERE report_id = ? AND source_id = ? AND generation < ?`,
    [reportId, grant.sourceId, generation],
  );
  for (const [former] of rows) {
    const of = { reportId, generation: Number(asBigint(former)) };
    await dropGeneration(connection, dialect, grant, layoutOf(of, report));
  }
}
