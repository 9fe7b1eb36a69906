/**
 * Faults by chance. Each seed switches some kinds on and leaves the others off (swarm testing), so that some
 * runs are tried by one kind alone and others by many at once.
 */
import { isTidemarkError } from '../../../src/base/index.ts';
import { FAULTS, type Fault } from './counts.ts';
import { DiskFaults, isDamage } from './disk-faults.ts';
import { WRITE_EDGES } from './disk.ts';
import { LinkFaults } from './link-faults.ts';
import type { Chance } from './loop.ts';
import type { SimMember } from './member.ts';
import { CHANGES, Operator, isChange } from './operator.ts';
import type { Simulation } from './simulation.ts';

/** So long after a disk was damaged nobody is asked to change the members: it may be found only now. */
const CALM_MS = 1_500;
/** These are not brought about by themselves: they come with others, or are in force for a whole run. */
const NOT_PLACED: readonly Fault[] = ['lost-tail', 'tiny-limits', 'tiny-logs'];

/** As often as they stand here: some come to nothing more often than others. */
const OFTEN: readonly Fault[] = [
  'crash-in-install',
  'crash-in-install',
  'crash-in-install',
  'crash-in-install',
  'crash-at-io',
  'transfer',
  'operator',
  'split-change',
  'split-change',
  'crash-in-change',
  'crash-in-change',
  'wipe',
  'wipe',
  'crash-of-all',
  'lost-record',
  'lost-record',
  'bit-flip',
  'torn-batch',
  'torn-batch',
  'rollback',
  'rollback',
  'rollback',
  'isolation',
  'damaged-state',
  'damaged-state',
  'lost-state',
  'lost-state',
];

/** Draws the kinds of a run; what is left out does not change the others. */
export function drawFaults(chance: Chance, without: ReadonlySet<Fault>): ReadonlySet<Fault> {
  const share = chance.pick([0.2, 0.4, 0.7]);
  const drawn = FAULTS.filter(() => chance.hits(share));
  return new Set(drawn.filter((fault) => !without.has(fault)));
}

export class Faults {
  readonly #simulation: Simulation;
  readonly #chance: Chance;
  readonly #placed: readonly Fault[];
  readonly #links: LinkFaults;
  readonly #disks: DiskFaults;
  readonly #operator: Operator;
  #ended = false;
  /** A follower is kept away so that it will need a snapshot. */
  #away = false;

  constructor(simulation: Simulation, chance: Chance, enabled: ReadonlySet<Fault>) {
    this.#simulation = simulation;
    this.#chance = chance;
    this.#links = new LinkFaults(simulation, chance);
    this.#disks = new DiskFaults(simulation, chance);
    this.#operator = new Operator(simulation, chance, () => this.#calm);
    if (CHANGES.some((fault) => enabled.has(fault))) this.#operator.begin();
    const placed = FAULTS.filter((fault) => enabled.has(fault) && !NOT_PLACED.includes(fault));
    // What often comes to nothing is tried more often.
    const often = OFTEN.filter((fault) => placed.includes(fault));
    this.#placed = [...placed, ...often, ...often, ...often];
  }

  /** The members stay who they are. */
  endChanges(): void {
    this.#operator.end();
  }

  /** Nothing goes on by itself any longer. */
  end(): void {
    this.#ended = true;
    this.#links.end();
  }

  get #calm(): boolean {
    return this.#simulation.loop.nowMs - this.#disks.damagedMs > CALM_MS;
  }

  /** Brings about one fault of an enabled kind, or mends something. */
  async strike(): Promise<void> {
    const { network, members } = this.#simulation;
    this.#disks.remember();
    await this.#operator.join();
    if (this.#placed.length === 0 || this.#chance.hits(0.25)) {
      if (this.#chance.hits(0.5)) network.heal();
      else await this.#simulation.startAll();
      return;
    }
    const leader = this.#simulation.leader();
    const fault = this.#chance.pick(this.#placed);
    // A leader that is cut off goes on appending what the others replace.
    const atLeader = this.#chance.hits(fault === 'isolation' ? 0.9 : 0.5);
    const victim = leader !== undefined && atLeader ? leader : this.#chance.pick(members);
    if (isChange(fault)) this.#operator.act(fault);
    else if (isDamage(fault)) {
      if (this.#calm) await this.#disks.damage(fault, victim);
    } else if (!this.#process(fault, victim) && !this.#disks.strike(fault, victim))
      this.#links.strike(fault, victim);
  }

  /** Tells whether it was a fault of a process or a clock. */
  #process(fault: Fault, victim: SimMember): boolean {
    const { counts, members } = this.#simulation;
    const chance = this.#chance;
    if (fault === 'pause') victim.stall(chance.between(100, 3_000));
    else if (fault === 'clock-offset' || fault === 'clock-jump') {
      const far = fault === 'clock-offset' ? 3_600_000 : chance.pick([100, 1_000, 30_000]);
      victim.clock.jump(chance.hits(0.5) ? far : -far);
    } else if (fault === 'clock-drift') victim.clock.setRate(chance.pick([0.9, 0.99, 1.01, 1.1]));
    else if (fault === 'crash') this.#simulation.crash(victim);
    else if (fault === 'transfer') return this.#transfer();
    else if (fault === 'crash-in-install') return this.#crashInInstall();
    else if (fault === 'crash-of-all') {
      if (chance.hits(0.6)) return true;
      for (const member of members) this.#simulation.crash(member);
    } else return false;
    counts.add(fault);
    return true;
  }

  /** An operator hands the lead to somebody, or to whoever is nearest. */
  #transfer(): true {
    const { counts, members } = this.#simulation;
    const to = this.#chance.hits(0.5) ? this.#chance.pick(members).id : undefined;
    const leader = this.#simulation.leader()?.running;
    if (leader === undefined) return true;
    counts.add('transfer');
    leader.driver.transferLeadership(to).catch((error: unknown) => {
      if (!isTidemarkError(error)) this.#simulation.oracles.fail(`a transfer failed with ${String(error)}`);
    });
    return true;
  }

  /**
   * Power is lost while a snapshot takes the place of a follower's state, or before the log has followed it.
   * For that the follower is away until the others' logs have lost what it needs.
   */
  #crashInInstall(): true {
    const { network, members, loop, counts } = this.#simulation;
    const leader = this.#simulation.leader();
    const followers = members.filter((member) => member.running !== undefined && member !== leader);
    if (this.#away || leader === undefined || followers.length === 0) return true;
    const victim = this.#chance.pick(followers);
    const edge = this.#chance.pick(WRITE_EDGES);
    const crash = (): void => {
      counts.add('crash-in-install');
      this.#simulation.crash(victim);
    };
    const others = members.filter((member) => member !== victim);
    network.heal();
    for (const { id } of others) network.block(id, victim.id);
    this.#away = true;
    loop.after(this.#chance.between(500, 2_000), () => {
      this.#away = false;
      if (!this.#ended) network.heal();
      if (edge === 'after-witness' || this.#chance.hits(0.3)) {
        victim.afterInstall = () => {
          victim.disk.armCrash(edge, crash);
        };
      } else victim.stateDisk.armCrash(edge, crash, () => victim.running?.state.installing === true);
    });
    return true;
  }
}
