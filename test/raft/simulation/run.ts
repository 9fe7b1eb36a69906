/** One seed, one run: a cluster under the faults that the seed draws, then its recovery and the verdict. */
import type { Counts, Fault } from './counts.ts';
import { Faults, drawFaults } from './faults.ts';
import { Chance } from './loop.ts';
import { mustRecover, mustServeWithQuorum } from './recovery.ts';
import { Simulation } from './simulation.ts';
import { Violation } from './violation.ts';

/** What a run is made of. Only the seed has to be said: the rest makes a failing run smaller. */
export interface RunOptions {
  readonly seed: number;
  /** @default drawn from the seed */
  readonly nodes?: number | undefined;
  /** Virtual milliseconds under faults. @default 7 seconds */
  readonly ms?: number | undefined;
  /** @default 4 */
  readonly clients?: number | undefined;
  readonly without?: ReadonlySet<Fault> | undefined;
  /** False: the build that must fail (evidence.md, rule 1). @default true */
  readonly sync?: boolean;
}

export interface RunResult {
  readonly seed: number;
  readonly violation: string | undefined;
  readonly steps: number;
  readonly virtualMs: number;
  readonly committed: number;
  readonly acknowledged: number;
  readonly reads: number;
  readonly crashes: number;
  readonly counts: Counts;
  readonly trace: string;
}

const STEPS_MIN = 4_000;
const DEFAULT_MS = 7_000;
const NONE: ReadonlySet<Fault> = new Set();

/** Runs one seed. Never throws: whatever goes wrong in it is a violation. */
export async function runSeed(options: RunOptions): Promise<RunResult> {
  const { seed, ms = DEFAULT_MS, clients = 4, without = NONE, sync = true } = options;
  const chance = new Chance(seed ^ 0x5bd1e995);
  const enabled = drawFaults(chance, without);
  const nodes = options.nodes ?? chance.pick([3, 3, 3, 5, 5, 7, 1]);
  const tinyLimits = enabled.has('tiny-limits');
  // Without short logs no follower ever needs a snapshot.
  const tinyLogs = enabled.has('tiny-logs') || enabled.has('crash-in-install');
  const simulation = new Simulation(seed, nodes, { sync, tinyLimits, tinyLogs });
  if (tinyLimits) simulation.counts.add('tiny-limits');
  if (tinyLogs) simulation.counts.add('tiny-logs');
  let violation: string | undefined;
  try {
    await simulation.startAll();
    simulation.clients.start(clients);
    const faults = new Faults(simulation, chance, enabled);
    await underFaults(simulation, { chance, faults, ms });
    faults.endChanges();
    await mustServeWithQuorum(simulation);
    simulation.clients.stop();
    faults.end();
    await mustRecover(simulation);
    simulation.mustBeLinearizable();
  } catch (error) {
    violation = error instanceof Violation ? error.message : String(error);
  }
  return {
    seed,
    violation,
    steps: simulation.steps,
    virtualMs: simulation.loop.nowMs,
    committed: simulation.oracles.committedIndex,
    acknowledged: simulation.acknowledged,
    reads: simulation.reads,
    crashes: simulation.crashes,
    counts: simulation.counts,
    trace: simulation.trace.text,
  };
}

async function underFaults(
  simulation: Simulation,
  plan: { readonly chance: Chance; readonly faults: Faults; readonly ms: number },
): Promise<void> {
  const { chance, faults, ms } = plan;
  const { loop } = simulation;
  const end = loop.nowMs + ms;
  let nextFault = loop.nowMs + chance.between(1_500, 3_000);
  while (loop.nowMs < end || simulation.steps < STEPS_MIN) {
    await simulation.advance(chance.between(1, 20));
    if (loop.nowMs < nextFault) continue;
    await faults.strike();
    nextFault = loop.nowMs + chance.between(50, chance.pick([100, 200, 600]));
  }
}
