/**
 * Asks MySQL by EXPLAIN how many combinations of rows a report's SQL would look at, over all that the source
 * holds. A join without an index or a condition is found before any task runs it.
 */
import { LIMITS, mutated, TidemarkError } from '../base/index.ts';
import { cellsQuery } from './affected-keys/affected-keys-query.ts';
import { buildQueries } from './contribution-queries.ts';
import { sourceTerms, type CheckReportInput } from './check-report.ts';

/**
 * Refuses SQL that is out of all proportion. It is an estimate, so its bound is far off; what it lets pass is
 * ended by the time that a task's SELECT may take.
 * @throws TidemarkError `SQL_TOO_SLOW`, and `DB_*` if the source cannot be asked.
 */
export async function checkCost(
  input: CheckReportInput,
  combinationsMax: number = LIMITS.reportCombinationsMax,
): Promise<void> {
  const { connection, dialect, report } = input;
  if (dialect.kind !== 'mysql') return;
  const terms = await sourceTerms(input, 'all');
  const [term = []] = terms;
  const isOfCells = report.affectedKeys !== undefined;
  const sql = isOfCells
    ? cellsQuery(dialect, report, term)
    : buildQueries(dialect, report, terms).additive.sql;
  const { columns, rows } = await connection.query(`EXPLAIN ${sql}`);
  const at = (name: string): number => columns.findIndex((column) => column.name.toLowerCase() === name);
  const [id, table, count, extra] = [at('id'), at('table'), at('rows'), at('extra')];
  const plans = new Map<string, { readonly tables: string[]; combinations: number }>();
  for (const row of rows) {
    const estimate = Number(row[count] ?? 1);
    const plan = plans.get(String(row[id])) ?? { tables: [], combinations: 1 };
    plans.set(String(row[id]), plan);
    plan.tables.push(String(row[table]));
    // A hash join reads its table once.
    if (!String(row[extra]).includes('hash join')) plan.combinations *= Math.max(1, estimate);
  }
  const heaviest = [...plans.values()].sort((one, other) => other.combinations - one.combinations)[0];
  if (heaviest === undefined || heaviest.combinations <= combinationsMax || mutated('job.costIgnored'))
    return;
  const amount = heaviest.combinations.toPrecision(2);
  throw new TidemarkError(
    'SQL_TOO_SLOW',
    `report ${report.name}: the database expects to look at ${amount} combinations of rows of ` +
      `${heaviest.tables.join(', ')}, at most ${combinationsMax} are allowed`,
    { next: 'Join by columns that have an index in the source; EXPLAIN shows which join has none.' },
  );
}
