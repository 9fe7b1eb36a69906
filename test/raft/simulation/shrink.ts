/** Makes a failing run smaller: fewer kinds of fault, fewer members and clients, less time. */
import { FAULTS, type Fault } from './counts.ts';
import { runSeed, type RunOptions } from './run.ts';

export interface Shrunk {
  readonly options: RunOptions;
  readonly violation: string;
  readonly runs: number;
}

/** Returns the line that does a run again. */
export function replayLine({ seed, nodes, ms, clients, without }: RunOptions): string {
  const parts = [`npm run sim -- --seed ${seed}`];
  if (nodes !== undefined) parts.push(`--nodes ${nodes}`);
  if (ms !== undefined) parts.push(`--ms ${ms}`);
  if (clients !== undefined) parts.push(`--clients ${clients}`);
  if (without !== undefined && without.size > 0) parts.push(`--without ${[...without].join(',')}`);
  return parts.join(' ');
}

/** Tries one smaller run after another and keeps each that fails, too. The violation may be another one. */
export async function shrink(failing: RunOptions): Promise<Shrunk> {
  let options = failing;
  let violation = (await runSeed(options)).violation ?? '';
  let runs = 1;
  const attempt = async (smaller: RunOptions): Promise<void> => {
    const found = (await runSeed(smaller)).violation;
    runs++;
    if (found === undefined) return;
    options = smaller;
    violation = found;
  };
  for (const fault of FAULTS) {
    const without: ReadonlySet<Fault> = new Set([...(options.without ?? []), fault]);
    await attempt({ ...options, without });
  }
  for (const nodes of [3, 1]) await attempt({ ...options, nodes });
  for (const clients of [2, 1, 0]) await attempt({ ...options, clients });
  for (const ms of [8_000, 5_000, 3_000]) await attempt({ ...options, ms });
  return { options, violation, runs };
}
