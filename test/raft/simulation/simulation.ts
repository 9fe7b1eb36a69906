/** A cluster in virtual time under random faults, with clients that check what they are told. */
import { isTidemarkError, memberId, type MemberId } from '../../../src/base/index.ts';
import type { Member } from '../../../src/raft/index.ts';
import { Chance, SimLoop } from './loop.ts';
import { SimMember } from './member.ts';
import { SimNetwork } from './network.ts';
import { Oracles, Violation } from './oracles.ts';

export interface SimulationResult {
  readonly seed: number;
  readonly violation: string | undefined;
  readonly committed: number;
  readonly acknowledged: number;
  readonly reads: number;
  readonly crashes: number;
  readonly leaders: number;
}

export class Simulation {
  readonly chance: Chance;
  readonly loop = new SimLoop();
  readonly network: SimNetwork;
  readonly members: readonly SimMember[];
  readonly oracles: Oracles;
  readonly check = (): void => {
    this.oracles.check();
  };
  acknowledged = 0;
  reads = 0;
  crashes = 0;
  readonly terms = new Set<number>();
  #proposals = 0;
  /** The highest index that any client knows of: a read that begins now must see it. */
  #floor = 0;

  constructor(seed: number, size: number, sync = true) {
    this.chance = new Chance(seed);
    this.network = new SimNetwork(this.loop, this.chance);
    const members: readonly Member[] = Array.from({ length: size }, (_, at) => ({
      id: memberId(at + 1),
      peerAddress: '',
      clientAddress: '',
    }));
    const tuning = {
      appendLimit: { entries: this.chance.pick([1, 2, 5, 1_000]), bytes: 1024 * 1024 },
      tailBytes: this.chance.pick([200, 2_000, 1024 * 1024]),
    };
    this.members = members.map(
      ({ id }) =>
        new SimMember({
          id,
          members,
          loop: this.loop,
          chance: this.chance,
          network: this.network,
          tuning,
          sync,
          onStatus: (member, status) => {
            this.terms.add(status.role === 'leader' ? status.term : 0);
            this.oracles.status(member, status);
          },
          onFatal: (member, error) => {
            this.oracles.fatal(member, error);
          },
        }),
    );
    this.oracles = new Oracles(this.members);
    this.network.onWire((from, to, frame) => {
      this.oracles.wire(from, to, frame);
    });
  }

  async startAll(): Promise<void> {
    for (const member of this.members) if (member.running === undefined) await member.start(this.check);
  }

  advance(ms: number): Promise<void> {
    return this.loop.advance(ms, this.check);
  }

  /** Proposes something unique to whoever believes that it leads, and reads there. */
  load(): void {
    for (const { running } of this.members) {
      if (running?.driver.core.role !== 'leader') continue;
      if (this.chance.hits(0.7)) void this.#propose(running.driver);
      if (this.chance.hits(0.5)) void this.#read(running.driver);
    }
  }

  leader(): SimMember | undefined {
    return this.members.find(({ running }) => running?.driver.status().leading === true);
  }

  /** Runs until `holds`, at most `ms` of virtual time. */
  async until(ms: number, what: string, holds: () => boolean): Promise<void> {
    const end = this.loop.nowMs + ms;
    while (!holds()) {
      if (this.loop.nowMs >= end) throw new Violation(`not within ${ms} ms: ${what}`);
      await this.advance(20);
    }
  }

  /** After the faults end, the cluster must lead, commit and agree again. */
  async mustRecover(): Promise<void> {
    this.network.faults = { drop: 0, double: 0, straggle: 0 };
    this.network.heal();
    for (const member of this.members) member.diskMs = 1;
    await this.startAll();
    const before = this.acknowledged;
    await this.until(15_000, 'a write after the faults have ended', () => {
      this.load();
      return this.acknowledged > before;
    });
    await this.until(15_000, 'equal state everywhere', () => {
      const applied = this.members.map(({ running }) => running?.state.appliedIndex);
      return applied.every((index) => index === applied[0] && index === this.oracles.committedIndex);
    });
  }

  async #propose(node: { propose(data: Uint8Array): Promise<{ readonly index: number }> }): Promise<void> {
    this.#proposals++;
    const data = `p${this.#proposals}`;
    try {
      const { index } = await node.propose(Buffer.from(data));
      this.acknowledged++;
      this.#floor = Math.max(this.#floor, index);
      this.oracles.acknowledged(data, index);
    } catch (error) {
      if (!isTidemarkError(error, 'OUTCOME_UNKNOWN')) this.oracles.refused(data);
    }
  }

  async #read(node: {
    readIndex(): Promise<number>;
    status(): { readonly appliedIndex: number };
  }): Promise<void> {
    const floor = this.#floor;
    try {
      const index = await node.readIndex();
      const { appliedIndex } = node.status();
      this.reads++;
      if (index < floor)
        this.oracles.fail(`a read at ${index} misses entry ${floor}, answered before it began`);
      if (appliedIndex < index) this.oracles.fail(`a read at ${index} was answered by state ${appliedIndex}`);
      this.#floor = Math.max(this.#floor, index);
    } catch (error) {
      if (!isTidemarkError(error)) this.oracles.fail(`a read failed with ${String(error)}`);
    }
  }
}

/** Runs one seed: faults of every kind for `ms`, then recovery. Never throws for a violation. */
export async function simulate(seed: number, ms: number, sync = true): Promise<SimulationResult> {
  const size = seed % 3 === 0 ? 5 : 3;
  const simulation = new Simulation(seed, size, sync);
  let violation: string | undefined;
  try {
    await simulation.startAll();
    await runFaults(simulation, ms);
    await simulation.mustRecover();
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error.message;
  }
  return {
    seed,
    violation,
    committed: simulation.oracles.committedIndex,
    acknowledged: simulation.acknowledged,
    reads: simulation.reads,
    crashes: simulation.crashes,
    leaders: simulation.terms.size,
  };
}

async function runFaults(simulation: Simulation, ms: number): Promise<void> {
  const { chance, loop } = simulation;
  let nextFault = loop.nowMs + chance.between(1_500, 3_000);
  const end = loop.nowMs + ms;
  while (loop.nowMs < end) {
    await simulation.advance(chance.between(1, 20));
    simulation.load();
    if (loop.nowMs < nextFault) continue;
    await fault(simulation);
    nextFault = loop.nowMs + chance.between(50, chance.pick([300, 1_000, 4_000]));
  }
}

async function fault(simulation: Simulation): Promise<void> {
  const { chance, network, members } = simulation;
  const ids = members.map(({ id }) => id);
  const victim = chance.hits(0.5) ? (simulation.leader() ?? chance.pick(members)) : chance.pick(members);
  switch (chance.between(0, 11)) {
    case 0:
    case 1:
    case 2:
      if (victim.running === undefined) await victim.start(simulation.check);
      else crash(simulation, victim);
      return;
    case 3:
      await simulation.startAll();
      return;
    case 4:
      victim.stall(chance.between(100, 3_000));
      return;
    case 5:
      victim.diskMs = chance.pick([1, 5, 100, 1_000]);
      return;
    case 6:
      isolate(simulation, ids, victim.id);
      return;
    case 7:
      for (const from of ids) for (const to of ids) if (chance.hits(0.3)) network.block(from, to);
      return;
    case 8:
      // A mistake of the death watch: it may cost an election, never safety.
      for (const id of ids) if (chance.hits(0.5)) network.announceEnd(id, victim.id);
      return;
    case 9:
    case 10:
      network.heal();
      return;
    default:
      network.faults = {
        drop: chance.pick([0, 0.05, 0.3]),
        double: chance.pick([0, 0.1]),
        straggle: chance.pick([0, 0.05, 0.2]),
      };
  }
}

function crash(simulation: Simulation, victim: SimMember): void {
  const { chance, members } = simulation;
  const victims = chance.hits(0.2) ? members : [victim];
  for (const member of victims) {
    if (member.running === undefined) continue;
    member.crash();
    simulation.crashes++;
    for (const { id } of members) if (chance.hits(0.7)) simulation.network.announceEnd(id, member.id);
  }
}

/** Both directions, or only one of them. */
function isolate(simulation: Simulation, ids: readonly MemberId[], victim: MemberId): void {
  const { chance, network } = simulation;
  const way = chance.pick(['both', 'in', 'out']);
  for (const id of ids) {
    if (way !== 'in') network.block(victim, id);
    if (way !== 'out') network.block(id, victim);
  }
}
