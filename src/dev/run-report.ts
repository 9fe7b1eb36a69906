/** The result of a run: one JSON document, its text for people, and the exit code that follows from it. */
import { ERRORS, EXIT } from '../base/index.ts';
import { missingEvents, type ChaosCounts } from './chaos/index.ts';
import { percentile } from './freshness.ts';
import type { LoadTotals } from './sample/index.ts';
import type { Settled } from './settle.ts';
import type { Verification } from './verify/index.ts';

export interface RunFacts {
  readonly engine: string;
  readonly seed: number;
  readonly rate: number;
  readonly loadMs: number;
  readonly load: LoadTotals;
  readonly freshnessMs: readonly number[];
  readonly writesResumedMs: readonly number[];
  readonly firstMergedMs: number | undefined;
  readonly mergedWindows: number;
  readonly crashes: readonly string[];
  readonly chaos: ChaosCounts | undefined;
  readonly wanted: { readonly verify: boolean };
  readonly settled?: Settled;
  readonly verification?: Verification;
}

export type Verdict = 'passed' | 'failed' | 'unknown' | 'not verified';

export interface RunReport {
  readonly document: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly exitCode: number;
}

/** Design goal of the main job: from a leader's end until a change is committed. */
export const WRITES_RESUME_MS_MAX = 2_000;
const WRONG_CELLS_SHOWN = 20;

export function makeReport(facts: RunFacts): RunReport {
  const problems = problemsOf(facts);
  const missing = [
    ...(facts.chaos === undefined ? [] : missingEvents(facts.chaos)),
    ...(facts.verification?.empty ?? []).map((report) => `rows in report ${report}`),
  ];
  const verdict = verdictOf(facts, problems, missing);
  return {
    document: { run: documentOf(facts, { verdict, problems, missing }) },
    text: textOf(facts, { verdict, problems, missing }),
    exitCode: exitCodeFor(verdict),
  };
}

interface Judged {
  readonly verdict: Verdict;
  readonly problems: readonly string[];
  readonly missing: readonly string[];
}

/** What makes a run fail, whatever else went well. */
function problemsOf({ settled, verification, crashes, writesResumedMs }: RunFacts): string[] {
  const problems: string[] = [];
  if (settled !== undefined && !settled.ok) problems.push(...settled.problems);
  const wrong = verification?.wrong.length ?? 0;
  if (wrong > 0) problems.push(`${wrong} wrong cells`);
  if (crashes.length > 0) problems.push(`processes ended by themselves: ${crashes.join('; ')}`);
  const slowest = Math.max(0, ...writesResumedMs);
  if (slowest > WRITES_RESUME_MS_MAX) problems.push(`writes resumed only ${slowest} ms after a leader's end`);
  return problems;
}

/** A run that saw a mistake has failed, even if it proves nothing else. */
function verdictOf(facts: RunFacts, problems: readonly string[], missing: readonly string[]): Verdict {
  if (problems.length > 0) return 'failed';
  if (missing.length > 0) return 'unknown';
  if (facts.verification !== undefined) return 'passed';
  // Asked for and interrupted: nobody knows.
  return facts.wanted.verify ? 'unknown' : 'not verified';
}

function exitCodeFor(verdict: Verdict): number {
  if (verdict === 'failed') return ERRORS.VERIFY_FAILED.exit;
  return verdict === 'unknown' ? ERRORS.VERIFY_UNKNOWN.exit : EXIT.ok;
}

function documentOf(facts: RunFacts, { verdict, problems, missing }: Judged): Record<string, unknown> {
  const { verification, settled } = facts;
  return {
    verdict,
    problems,
    engine: facts.engine,
    seed: facts.seed,
    rate: facts.rate,
    loadMs: Math.round(facts.loadMs),
    achievedRate: achieved(facts),
    load: facts.load,
    windows: { merged: facts.mergedWindows, firstMergedMs: facts.firstMergedMs ?? null },
    freshnessMs: {
      p50: rounded(percentile(facts.freshnessMs, 50)),
      p99: rounded(percentile(facts.freshnessMs, 99)),
      samples: facts.freshnessMs.length,
    },
    leaderKills: { count: facts.writesResumedMs.length, writesResumedMs: facts.writesResumedMs },
    crashes: facts.crashes,
    chaos: facts.chaos === undefined ? null : { ...facts.chaos, missing },
    settled: settled ?? null,
    verify:
      verification === undefined
        ? null
        : {
            reports: verification.reports,
            rows: verification.rows,
            cells: verification.cells,
            wrongCells: verification.wrong.length,
            wrong: verification.wrong.slice(0, WRONG_CELLS_SHOWN),
          },
  };
}

function textOf(facts: RunFacts, { verdict, problems, missing }: Judged): string {
  const { verification, chaos, load, settled } = facts;
  const p50 = rounded(percentile(facts.freshnessMs, 50));
  const p99 = rounded(percentile(facts.freshnessMs, 99));
  const slowest = Math.max(0, ...facts.writesResumedMs);
  const resumed = slowest === 0 ? '' : `; writes resumed within ${slowest} ms at most`;
  const lines = [
    '',
    `load        ${load.changes} row changes in ${load.transactions} transactions, ` +
      `${achieved(facts)}/s (asked for ${facts.rate}/s), ${load.rolledBack} rolled back`,
    `windows     ${facts.mergedWindows} merged`,
    `freshness   p50 ${p50 ?? '-'} ms, p99 ${p99 ?? '-'} ms over ${facts.freshnessMs.length} markers`,
    `leader      killed ${facts.writesResumedMs.length} times${resumed}`,
  ];
  if (chaos !== undefined) {
    lines.push('chaos');
    for (const [name, count] of Object.entries(chaos)) lines.push(`  ${words(name).padEnd(42)} ${count}`);
  }
  if (settled !== undefined) lines.push(`settled     after ${settled.tookMs} ms, ${settled.windows} windows`);
  if (verification !== undefined) {
    lines.push(
      `verify      ${verification.reports} reports, ${verification.rows} rows, ` +
        `${verification.cells} cells compared, ${verification.wrong.length} wrong`,
    );
    for (const cell of verification.wrong.slice(0, WRONG_CELLS_SHOWN)) {
      lines.push(
        `  ${cell.report} ${cell.key} ${cell.column}: expected ${cell.expected}, found ${cell.actual}`,
      );
    }
  }
  if (missing.length > 0) lines.push(`not often enough: ${missing.map(words).join(', ')}`);
  lines.push(`result      ${verdict}${problems.length > 0 ? `: ${problems.join('; ')}` : ''}`);
  return lines.join('\n');
}

const achieved = ({ load, loadMs }: RunFacts): number =>
  loadMs === 0 ? 0 : Math.round((load.changes * 1_000) / loadMs);
const rounded = (value: number | undefined): number | null =>
  value === undefined ? null : Math.round(value);
const words = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
