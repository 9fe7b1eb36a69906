/** The rules of a report of class `affectedKeys` (design 6.9), as far as the job file alone tells them. */
import { TidemarkError } from '../../base/index.ts';
import type { EngineKind } from '../../sql/index.ts';
import type { Findings } from '../findings.ts';
import type { JobAffectedKeys, JobInput, JobKey, JobTouched } from '../file/job-file.ts';
import type { RawReport } from '../file/job-schema.ts';
import type { Path } from '../file/problems.ts';
import { checkAnySelect } from '../sql/sql-contract.ts';
import { captured, readsTable, touchedKeys } from './touched-keys.ts';

interface Declared {
  readonly inputs: readonly JobInput[];
  readonly keys: readonly JobKey[];
  readonly kind: EngineKind;
  readonly path: Path;
}

/** Checks the texts, and finds what a changed row of each captured input touches where nothing is written. */
export function affectedKeysOf(raw: RawReport, declared: Declared, findings: Findings): JobAffectedKeys {
  const { inputs, keys, kind, path } = declared;
  checkInputs(inputs, path, findings);
  let affected: JobAffectedKeys = { touched: [], narrowed: [] };
  findings.during([...path, 'sql'], () => {
    const query = checkAnySelect(raw.sql, inputs, kind);
    const names = keys.map(({ name }) => name);
    const found = touchedKeys({ sql: raw.sql, inputs, keys: names }, query) ?? [];
    const touched = captured(inputs).flatMap(({ alias }): JobTouched[] => {
      const written = raw.inputs[alias]?.touched;
      if (written !== undefined) return [{ alias, sql: written }];
      // An input that only helps to find the keys of others touches none itself.
      if (!readsTable(query, alias)) return [];
      const one = found.find((other) => other.alias === alias);
      if (one?.sql === undefined) throw unknownKeys(alias, names);
      const { sql, linked, columns = [] } = one;
      return [{ alias, sql, ...(linked === undefined ? {} : { linked: { columns, ...linked } }) }];
    });
    const narrowed = found.flatMap(({ alias, columns }) =>
      columns === undefined ? [] : [{ alias, columns }],
    );
    affected = { touched, narrowed };
  });
  for (const { alias } of captured(inputs)) {
    const written = raw.inputs[alias]?.touched;
    if (written === undefined) continue;
    findings.during([...path, 'inputs', alias, 'touched'], () => {
      checkAnySelect(written, inputs, kind);
    });
  }
  return affected;
}

/** The state of a table that drives nothing would be as it was when a key was last touched. */
function checkInputs(inputs: readonly JobInput[], path: Path, findings: Findings): void {
  for (const { alias, kind } of inputs) {
    if (kind !== 'state') continue;
    const message = 'class affectedKeys reads every captured table as its rows are: write changes: TABLE';
    findings.add('JOB_INVALID', [...path, 'inputs', alias], message);
  }
}

/** Tells what to write where the text does not show which keys a changed row touches. */
export function unknownKeys(alias: string, keys: readonly string[]): TidemarkError {
  const message = `which keys a changed row of ${alias} touches is not shown by the SQL`;
  return new TidemarkError(
    'TOUCHED_UNKNOWN',
    `${message}: write touched: SELECT ${keys.join(', ')} for ${alias}`,
    {
      next: TOUCHED_NEXT,
    },
  );
}

export const TOUCHED_NEXT =
  'Write touched: under that input, a SELECT that reads it (its changed rows, before and after) and ' +
  'returns the keys whose cells they may change; it may join the other inputs.';
