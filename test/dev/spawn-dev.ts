/** Runs `tidemark dev` from the built program, as a person would. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { builtCli } from '../support/dist.ts';

/** What a test looks at in the run's JSON document. */
export interface DevDocument {
  readonly verdict: string;
  readonly problems: readonly string[];
  readonly crashes: readonly string[];
  readonly windows: { readonly merged: number };
  readonly freshnessMs: { readonly samples: number; readonly p50: number };
  readonly leaderKills: { readonly count: number; readonly writesResumedMs: readonly number[] };
  readonly chaos: Readonly<Record<string, number>> | null;
  readonly verify: { readonly reports: number; readonly cells: number; readonly wrongCells: number } | null;
}

export interface DevProcess {
  readonly process: ChildProcess;
  readonly folder: string;
  /** What it wrote to stderr until now. */
  said(): string;
  /** Resolves with the exit code and what stdout held. */
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string }>;
}

export async function startDev(folder: string, words: readonly string[]): Promise<DevProcess> {
  const program = await builtCli();
  const child = spawn(process.execPath, [program, 'dev', `--data=${folder}`, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TIDEMARK_CONFIG: '' },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout }));
  return { process: child, folder, said: () => stderr, ended };
}

/** Runs to the end; a run that wrote no document shows what it said instead. */
export async function runDev(
  folder: string,
  words: readonly string[],
): Promise<{ readonly code: number | null; readonly run: DevDocument; readonly said: string }> {
  const dev = await startDev(folder, [...words, '--output=json']);
  const { code, stdout } = await dev.ended;
  if (stdout === '') throw new Error(`no document (exit code ${code}):\n${dev.said()}`);
  return { code, run: (JSON.parse(stdout) as { run: DevDocument }).run, said: dev.said() };
}
