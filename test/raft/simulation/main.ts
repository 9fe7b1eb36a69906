/**
 * The simulator's command line: one seed, or as many as fit into some minutes.
 * Exit code 0: no violation. 1: a violation, or a run that differed when it was done again. 2: unknown,
 * because some fault or precondition occurred too rarely. 64: wrong arguments.
 */
import { parseArgs } from 'node:util';
import { Counts, FAULTS, type Fault } from './counts.ts';
import { runSeed, type RunOptions, type RunResult } from './run.ts';
import { hunt } from './seeded-bugs.ts';
import { replayLine, shrink } from './shrink.ts';

/** Over this many seeds each event must occur {@link EVENTS_MIN} times. */
const SEEDS_FOR_VERDICT = 300;
const EVENTS_MIN = 30;
/** One run in so many is done twice. */
const TWICE = 100;

interface Settings {
  readonly bugs: string | undefined;
  readonly seed: number | undefined;
  readonly from: number;
  readonly seeds: number;
  readonly minutes: number;
  readonly run: Omit<RunOptions, 'seed'>;
}

function number(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} ${text}: not a number`);
  return value;
}

function readSettings(): Settings {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      seed: text,
      from: text,
      seeds: text,
      minutes: text,
      nodes: text,
      ms: text,
      clients: text,
      without: text,
      bugs: text,
    },
  });
  const without = (values.without ?? '').split(',').filter((part) => part !== '');
  const unknown = without.find((fault) => !(FAULTS as readonly string[]).includes(fault));
  if (unknown !== undefined) throw new Error(`--without ${unknown}: not one of ${FAULTS.join(', ')}`);
  const nodes = number(values.nodes, 'nodes');
  if (nodes !== undefined && ![1, 3, 5, 7].includes(nodes)) throw new Error('--nodes: 1, 3, 5 or 7');
  const minutes = number(values.minutes, 'minutes');
  return {
    bugs: values.bugs,
    seed: number(values.seed, 'seed'),
    from: number(values.from, 'from') ?? 1,
    seeds: number(values.seeds, 'seeds') ?? (minutes === undefined ? SEEDS_FOR_VERDICT : Infinity),
    minutes: minutes ?? Infinity,
    run: {
      nodes,
      ms: number(values.ms, 'ms'),
      clients: number(values.clients, 'clients'),
      without: new Set(without as Fault[]),
    },
  };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Prints the run that failed and the smallest one that was found to fail likewise. */
async function report(options: RunOptions, result: RunResult): Promise<void> {
  say(`VIOLATION  ${result.violation ?? ''}`);
  say(`replay     ${replayLine(options)}`);
  const small = await shrink(options);
  say(`smaller    ${replayLine(small.options)}`);
  say(`           ${small.violation} (after ${small.runs} more runs)`);
}

async function many(settings: Settings): Promise<number> {
  const counts = new Counts();
  const began = performance.now();
  const cpuBegan = process.cpuUsage();
  let [seeds, steps, virtualMs] = [0, 0, 0];
  for (let seed = settings.from; seeds < settings.seeds; seed++) {
    if (performance.now() - began > settings.minutes * 60_000) break;
    const options = { ...settings.run, seed };
    const result = await runSeed(options);
    seeds++;
    steps += result.steps;
    virtualMs += result.virtualMs;
    counts.addAll(result.counts);
    if (result.violation !== undefined) {
      await report(options, result);
      return 1;
    }
    if (seed % TWICE === 0 && (await runSeed(options)).trace !== result.trace) {
      say(`NOT REPEATABLE  ${replayLine(options)}`);
      return 1;
    }
  }
  const { user, system } = process.cpuUsage(cpuBegan);
  const seconds = (user + system) / 1_000_000;
  say(`${seeds} seeds, ${steps} steps, ${(virtualMs / 3_600_000).toFixed(1)} virtual hours, no violation`);
  say(`${Math.round(steps / seconds)} steps per second of processor time`);
  say(counts.toString());
  const least = Math.floor((EVENTS_MIN * seeds) / SEEDS_FOR_VERDICT);
  const rare = counts.rare(least);
  if (rare.length === 0 && seeds >= SEEDS_FOR_VERDICT) return 0;
  say(
    rare.length > 0
      ? `unknown: fewer than ${least} times: ${rare.join(', ')}`
      : `unknown: a verdict needs ${SEEDS_FOR_VERDICT} seeds`,
  );
  return 2;
}

async function one(options: RunOptions): Promise<number> {
  const result = await runSeed(options);
  const { steps, committed, acknowledged, reads, crashes, trace } = result;
  say(`seed ${options.seed}: ${steps} steps, ${committed} entries, ${acknowledged} writes, ${reads} reads`);
  say(`${crashes} crashes, trace ${trace}`);
  say(result.counts.toString());
  if (result.violation === undefined) return 0;
  await report(options, result);
  return 1;
}

async function main(): Promise<number> {
  let settings: Settings;
  try {
    settings = readSettings();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 64;
  }
  if (settings.bugs !== undefined) return hunt(settings.bugs, say);
  if (settings.seed !== undefined) return one({ ...settings.run, seed: settings.seed });
  return many(settings);
}

process.exitCode = await main();
