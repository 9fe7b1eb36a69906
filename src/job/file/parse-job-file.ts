/** From YAML text to a checked {@link JobFile}. No database is asked and no secret is read. */
import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { LIMITS, TidemarkError } from '../../base/index.ts';
import { suggestion } from './did-you-mean.ts';
import type { JobFile } from './job-file.ts';
import { checkJob } from './job-rules.ts';
import { jobSchema, knownKeys } from './job-schema.ts';
import { Places, problemsError, type Problem } from './problems.ts';

/** Bounds what repeated YAML aliases may unfold to. */
const ALIASES_MAX = 100;
const SYNTAX_ERRORS_MAX = 5;
const NEXT = 'Correct the job file and apply it again; docs/reference/job-file.md describes it.';

/**
 * Parses and checks a job file. All problems of one kind are told together.
 * @throws TidemarkError `JOB_SYNTAX` (not YAML), `JOB_INVALID` (`line:column path: message` per line),
 * `TOPOLOGY_INVALID`, `JOB_UNSUPPORTED` (a later version will), `SQL_INVALID` (the text breaks the report
 * contract, design 6.1), `COLUMN_TYPE`, `MEASURE_TYPE`, `DECIMAL_EMBEDDED`.
 */
export function parseJobFile(text: string): JobFile {
  if (Buffer.byteLength(text) > LIMITS.jobFileBytesMax) {
    throw new TidemarkError('JOB_INVALID', `the job file is larger than ${LIMITS.jobFileBytesMax} bytes`, {
      next: 'Divide it into several jobs.',
    });
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const places = new Places(document, lines);
  if (document.errors.length > 0) {
    const told = document.errors.slice(0, SYNTAX_ERRORS_MAX).map((error) => {
      const { line, col } = lines.linePos(error.pos[0]);
      return `${line}:${col} ${error.message}`;
    });
    throw new TidemarkError('JOB_SYNTAX', told.join('\n'), { next: NEXT });
  }
  const parsed = jobSchema.safeParse(plain(() => document.toJS({ maxAliasCount: ALIASES_MAX }) as unknown));
  if (!parsed.success) {
    throw problemsError('JOB_INVALID', parsed.error.issues.flatMap(problemsOf), places, NEXT);
  }
  return checkJob(parsed.data, places);
}

function plain(read: () => unknown): unknown {
  try {
    return read();
  } catch (cause) {
    throw new TidemarkError('JOB_SYNTAX', `aliases in the YAML: ${(cause as Error).message}`, {
      cause,
      next: NEXT,
    });
  }
}

function problemsOf(issue: z.core.$ZodIssue): Problem[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: `unknown key; ${suggestion(key, knownKeys(path))}`,
    }));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map((inner) => ({ path, message: inner.message }));
  }
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) {
    return [{ path, message: `missing; it is ${EXPECTED[issue.expected] ?? issue.expected}` }];
  }
  return [{ path, message: lowerFirst(issue.message) }];
}

const EXPECTED: Readonly<Record<string, string>> = {
  record: 'a map',
  object: 'a map',
  array: 'a list',
  string: 'a text',
};

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
