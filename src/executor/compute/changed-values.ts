/**
 * Finds values that MySQL changed without an error. In a SELECT, unlike in an INSERT, it divides by zero to
 * NULL, cuts a DECIMAL to the largest one that fits, a text or a list to its beginning, and only warns: the
 * cell of a report would be wrong and nobody would know.
 */
import { mutated, TidemarkError } from '../../base/index.ts';
import { WARNINGS_SHOWN_MAX, type Dialect, type SqlConnection, type SqlValue } from '../../sql/index.ts';

const DIVISION_BY_ZERO = 1365n;
/** Lists and texts that outgrow `group_concat_max_len` and `max_allowed_packet`: cut, or NULL. */
const CUT: ReadonlySet<SqlValue | undefined> = new Set([1260n, 1301n]);
/** What a strict `INSERT ... SELECT` refuses; MariaDB numbers some of them its own way. */
const CHANGED: ReadonlySet<SqlValue | undefined> = new Set([
  ...[1264n, 1265n, 1292n, 1300n, 1366n, 1406n, 1411n, 1441n, 1690n],
  ...[1916n, 1918n],
]);

/**
 * Looks at the warnings of the statement that ran last on the connection. The embedded engine has none:
 * there the report contract refuses divisors that may be zero.
 * @throws TidemarkError `DIVISION_BY_ZERO`, `VALUE_RANGE`.
 */
export async function refuseChangedValues(connection: SqlConnection, dialect: Dialect): Promise<void> {
  if (dialect.kind !== 'mysql' || mutated('job.changedValuesPass')) return;
  const { rows } = await connection.query('SHOW WARNINGS');
  const division = rows.find(([, code]) => code === DIVISION_BY_ZERO);
  if (division !== undefined) {
    throw new TidemarkError('DIVISION_BY_ZERO', 'the SQL divides by zero', {
      next: 'Say in the SQL what it is then: NULLIF(divisor, 0) gives NULL, CASE anything else.',
    });
  }
  const changed = rows.find(([, code]) => CHANGED.has(code) || isCut(code));
  if (changed === undefined) {
    refuseUnseen(rows.length);
    return;
  }
  throw new TidemarkError('VALUE_RANGE', `a value would be changed: ${String(changed[2])}`, {
    next: 'Declare a wider type, or say in the SQL how it is made to fit: LEFT(text, n), CASE, LEAST.',
  });
}

const isCut = (code: SqlValue | undefined): boolean => CUT.has(code) && !mutated('job.cutListsPass');

/** The server shows the first ones only: what the others say, nobody knows. */
function refuseUnseen(shown: number): void {
  if (shown < WARNINGS_SHOWN_MAX || mutated('job.unseenWarningsPass')) return;
  throw new TidemarkError(
    'VALUE_RANGE',
    `there are ${WARNINGS_SHOWN_MAX} warnings or more: not all are seen`,
    {
      next: 'Run the SQL, look at SHOW WARNINGS, and say in the SQL what it is for such rows.',
    },
  );
}
