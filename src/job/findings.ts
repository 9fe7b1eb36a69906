/** Gathers the problems of a job file under their codes, so that one error can tell all of one kind. */
import { TidemarkError, type ErrorCode } from '../base/index.ts';
import { problemsError, type Path, type Places, type Problem } from './file/problems.ts';

/**
 * In this order one kind of problem is told before the next: a later one often follows from an earlier one.
 */
const ORDER = [
  'JOB_INVALID',
  'TOPOLOGY_INVALID',
  'JOB_UNSUPPORTED',
  'COLUMN_TYPE',
  'DECIMAL_EMBEDDED',
  'MEASURE_TYPE',
  'SQL_WRITES',
  'SQL_INVALID',
  'TOUCHED_UNKNOWN',
] as const satisfies readonly ErrorCode[];
export type ProblemCode = (typeof ORDER)[number];

const NEXT: Readonly<Record<ProblemCode, string>> = {
  JOB_INVALID: 'Correct the job file and apply it again; docs/reference/job-file.md describes it.',
  TOPOLOGY_INVALID:
    'Give each of the 1,024 slots to one store, or leave all slots out; one database a shard.',
  JOB_UNSUPPORTED: 'Leave it out, or write what the message names.',
  COLUMN_TYPE: 'docs/reference/job-file.md lists the types.',
  DECIMAL_EMBEDDED: 'Use BIGINT with minor units (cents), or MySQL.',
  MEASURE_TYPE: 'Sums and averages are BIGINT or DECIMAL(p,s); CAST the value in the SQL.',
  SQL_WRITES: 'Write one SELECT: Tidemark itself writes its result into the report.',
  SQL_INVALID: 'docs/reference/job-file.md says what the SQL of a report may be.',
  TOUCHED_UNKNOWN:
    'Write touched: under that input: a SELECT of the keys whose cells its changed rows may change.',
};

export class Findings {
  readonly #found: (Problem & { readonly code: ProblemCode })[] = [];

  add(code: ProblemCode, path: Path, message: string): void {
    this.#found.push({ code, path, message });
  }

  /** Runs a check that throws, and keeps what it throws as a problem of its code. */
  during(path: Path, check: () => void): void {
    try {
      check();
    } catch (error) {
      const code = error instanceof TidemarkError ? ORDER.find((known) => known === error.code) : undefined;
      if (code === undefined) throw error;
      this.add(code, path, (error as TidemarkError).message);
    }
  }

  throwFirst(places: Places): void {
    for (const code of ORDER) {
      const problems = this.#found.filter((problem) => problem.code === code);
      if (problems.length > 0) throw problemsError(code, problems, places, NEXT[code]);
    }
  }
}
