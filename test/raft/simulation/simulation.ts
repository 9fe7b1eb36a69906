/** A cluster in virtual time with clients that check what they are told. */
import { memberId, type MemberId } from '../../../src/base/index.ts';
import type { Member } from '../../../src/raft/index.ts';
import { Clients, KEYS } from './clients.ts';
import { Counts } from './counts.ts';
import { KEY, judge } from './linearizability.ts';
import { Chance, SimLoop } from './loop.ts';
import { SimMember, type SimMemberParts } from './member.ts';
import { SimNetwork } from './network.ts';
import { Oracles } from './oracles.ts';
import { Trace } from './trace.ts';
import { Violation } from './violation.ts';

/** Neither passed nor a bug found. */
export const UNDECIDED = 'whether what clients saw is linearizable was not found out';

export interface SimulationOptions {
  /** False: the build that must fail (evidence.md, rule 1). @default true */
  readonly sync?: boolean;
  /** Appends and memory so small that long logs' paths are walked. @default by chance */
  readonly tinyLimits?: boolean;
  /** Machines beside the cluster, which learn from a leader that they were added. @default 0 */
  readonly spares?: number;
  /** Logs so short that followers need snapshots. @default false: logs keep everything */
  readonly tinyLogs?: boolean;
}

/** Members get their ids in order, so that a spare machine can have its own from the start. */
export function machine(id: number): Member {
  return { id: memberId(id), peerAddress: `peer-${id}`, clientAddress: `client-${id}` };
}

export class Simulation {
  readonly chance: Chance;
  readonly loop = new SimLoop();
  readonly network: SimNetwork;
  readonly members: SimMember[] = [];
  readonly spares: number;
  readonly oracles: Oracles;
  readonly clients: Clients;
  readonly counts = new Counts();
  readonly trace = new Trace();
  readonly check = (): void => {
    this.steps++;
    this.oracles.check();
  };
  /** Hears of whoever has just been elected. */
  onElected: (member: SimMember) => void = () => undefined;
  /** Events so far, each followed by a look of all oracles. */
  steps = 0;
  crashes = 0;
  readonly #makeMember: (id: MemberId, initial: readonly Member[]) => SimMember;

  constructor(
    seed: number,
    size: number,
    { sync = true, tinyLimits, tinyLogs = false, spares = 0 }: SimulationOptions = {},
  ) {
    this.chance = new Chance(seed);
    this.spares = spares;
    // Chance of its own for each part: another workload does not deal the network another hand.
    const chanceOf = (part: number): Chance => new Chance(seed * 31 + part * 0x10001);
    this.network = new SimNetwork(this.loop, chanceOf(1));
    const tiny = tinyLimits ?? this.chance.hits(0.5);
    const tuning = {
      appendLimit: { entries: tiny ? this.chance.pick([1, 2, 5]) : 1_000, bytes: 1024 * 1024 },
      inflightLimit: { appends: tiny ? this.chance.pick([1, 2, 4]) : 64, bytes: tiny ? 200 : 1024 * 1024 },
      tailBytes: tiny ? this.chance.pick([200, 2_000]) : 1024 * 1024,
      compaction: {
        keepEntries: this.chance.pick([0, 3, 10]),
        keepBytes: 1024 * 1024,
        stepEntries: this.chance.pick([4, 10, 30]),
        stepBytes: 64 * 1024,
        holdEntries: 20,
        holdBytes: 4 * 1024 * 1024,
      },
    };
    this.#makeMember = (id, initial) =>
      new SimMember({
        id,
        members: initial,
        loop: this.loop,
        chance: chanceOf(100 + id),
        seeds: chanceOf(200 + id),
        network: this.network,
        tuning,
        snapshots: tinyLogs,
        sync,
        ...this.#observers(),
      });
    const machines = Array.from({ length: size + spares }, (_, at) => machine(at + 1));
    const founders = machines.slice(0, size);
    for (const one of machines) {
      this.members.push(this.#makeMember(one.id, founders.includes(one) ? founders : []));
    }
    this.oracles = new Oracles(this.members, this.counts, founders);
    const { loop, oracles, counts } = this;
    this.clients = new Clients({ loop, chance: chanceOf(2), members: this.members, oracles, counts });
    this.network.onWire((from, to, frame) => {
      this.trace.add(this.loop.nowMs, from, to, frame);
      this.oracles.wire(from, to, frame);
    });
  }

  /** Who looks on while members run. */
  #observers(): Pick<SimMemberParts, 'onStatus' | 'onFatal' | 'onDurable' | 'onInstalled'> {
    const { trace, loop } = this;
    return {
      onStatus: (member, status) => {
        trace.add(loop.nowMs, member, status.role, status.term);
        this.oracles.status(member, status);
        if (status.role === 'leader' && !status.leading) this.#atOnce(member);
      },
      onFatal: (member, error) => {
        this.#onFatal(member, error);
      },
      onDurable: (member, batch) => {
        trace.add(loop.nowMs, member, batch.puts.length);
        this.oracles.logWritten(member, batch);
      },
      onInstalled: (member) => {
        trace.add(loop.nowMs, member, 'installed');
        this.counts.add('snapshot-install');
      },
    };
  }

  /** Puts an empty machine there for a member that the cluster has admitted, and starts it. */
  async join(id: MemberId): Promise<void> {
    const member = this.#makeMember(id, []);
    this.members.push(member);
    await this.start(member);
  }

  /** An operator's mistake: the machine is set up anew, empty, under the id that it had. */
  async replaceByEmpty(member: SimMember): Promise<void> {
    this.crash(member);
    const empty = this.#makeMember(member.id, []);
    this.members.splice(this.members.indexOf(member), 1, empty);
    await this.start(empty);
  }

  get acknowledged(): number {
    return this.clients.acknowledged;
  }

  get reads(): number {
    return this.clients.reads;
  }

  async startAll(): Promise<void> {
    for (const member of this.members) await this.start(member);
  }

  async start(member: SimMember): Promise<void> {
    if (member.up || member.refused) return;
    if ((await member.start(this.check)) === 'refused') this.counts.add('damage-detected');
    if (member.running?.driver.core.lacksState === true) this.counts.add('state-lost');
  }

  advance(ms: number): Promise<void> {
    return this.loop.advance(ms, this.check);
  }

  /** Power is lost at a member. */
  crash(member: SimMember): void {
    if (!member.up) return;
    const { lostWrites } = member.crash();
    this.crashes++;
    if (lostWrites > 0) this.counts.add('lost-tail');
    for (const { id } of this.members) {
      if (this.chance.hits(0.7)) this.network.announceEnd(id, member.id);
    }
  }

  /** Adds and reads at whoever believes that it leads. */
  load(): void {
    for (const member of this.members) {
      if (member.running?.driver.core.role !== 'leader') continue;
      if (this.chance.hits(0.7)) void this.clients.writeAt(member);
      if (this.chance.hits(0.5)) void this.clients.readAt(member);
    }
  }

  /** Somebody asks whoever has just been elected, before it can know what was committed before it. */
  #atOnce(id: MemberId): void {
    this.loop.after(0, () => {
      const member = this.members.find((candidate) => candidate.id === id);
      if (member === undefined) return;
      for (const key of KEYS) void this.clients.readAt(member, key);
      this.onElected(member);
    });
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

  /** What all clients saw must have happened in one order. To be called when the log is final. */
  mustBeLinearizable(): void {
    const { states } = this.oracles;
    const calls = this.clients.history((attempt) => states.effectOf(attempt), states.model.valueOfRevision);
    const verdict = judge(calls, KEY);
    if (verdict === 'unknown') throw new Violation(UNDECIDED);
    if (verdict !== 'linearizable') throw new Violation(`what clients saw is ${verdict}`);
  }

  /** A failed write ends its process; nothing else may. */
  #onFatal(id: MemberId, error: unknown): void {
    const member = this.members.find((candidate) => candidate.id === id);
    if (member?.failed !== true) {
      this.oracles.fatal(id, error);
      return;
    }
    this.loop.after(0, () => {
      if (member.failed) this.crash(member);
    });
  }
}
