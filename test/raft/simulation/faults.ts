/**
 * Faults by chance. Each seed switches some kinds on and leaves the others off (swarm testing), so that some
 * runs are tried by one kind alone and others by many at once.
 */
import { isTidemarkError, must, type MemberId } from '../../../src/base/index.ts';
import { HARD_STATE_KEY, decodeHardState } from '../../../src/raft/log-store/index.ts';
import { FAULTS, type Fault } from './counts.ts';
import { WRITE_EDGES, type DiskImage, type SimDisk } from './disk.ts';
import type { Chance } from './loop.ts';
import type { SimMember } from './member.ts';
import { carries, relevant } from './membership.ts';
import { Operator } from './operator.ts';
import type { Simulation } from './simulation.ts';

const DAMAGE: readonly Fault[] = [
  'bit-flip',
  'lost-record',
  'torn-batch',
  'rollback',
  'wipe',
  'damaged-state',
  'lost-state',
];
/** These are not brought about by themselves: they come with others, or are in force for a whole run. */
const NOT_PLACED: readonly Fault[] = ['lost-tail', 'tiny-limits', 'tiny-logs'];

/** As often as they stand here: some come to nothing more often than others. */
const OFTEN: readonly Fault[] = [
  'crash-in-install',
  'crash-in-install',
  'crash-in-install',
  'operator',
  'wipe',
  'crash-of-all',
  'lost-record',
  'bit-flip',
  'torn-batch',
  'rollback',
  'rollback',
  'isolation',
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
  readonly #operator: Operator;
  #ended = false;
  /** A follower is kept away so that it will need a snapshot. */
  #away = false;
  #damagedMs = -Infinity;
  readonly #images = new Map<SimMember, DiskImage>();

  constructor(simulation: Simulation, chance: Chance, enabled: ReadonlySet<Fault>) {
    this.#simulation = simulation;
    this.#chance = chance;
    this.#operator = new Operator(simulation, chance);
    const placed = FAULTS.filter((fault) => enabled.has(fault) && !NOT_PLACED.includes(fault));
    // What often comes to nothing is tried more often.
    const often = OFTEN.filter((fault) => placed.includes(fault));
    this.#placed = [...placed, ...often, ...often, ...often];
  }

  /** Nothing goes on by itself any longer. */
  end(): void {
    this.#ended = true;
  }

  /**
   * Damage and changes of members keep apart: a change that is under way when a disk dies for good may
   * leave too few, which is more than the fault model allows.
   */
  get #calm(): boolean {
    return this.#simulation.loop.nowMs - Math.max(this.#damagedMs, this.#operator.actedMs) > 1_500;
  }

  /** Brings about one fault of an enabled kind, or mends something. */
  async strike(): Promise<void> {
    const { network, members } = this.#simulation;
    if (this.#images.size === 0) for (const member of members) this.#images.set(member, member.disk.image());
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
    if (fault === 'operator') {
      if (this.#simulation.loop.nowMs - this.#damagedMs > 1_500) await this.#operator.act();
    } else if (fault === 'lost-state') await this.#damage(fault, this.#chance.pick(this.#compacted(victim)));
    else if (DAMAGE.includes(fault)) await this.#damage(fault, victim);
    else if (!this.#process(fault, victim) && !this.#disk(fault, victim)) this.#network(fault, victim);
  }

  #network(fault: Fault, victim: SimMember): void {
    const { network, loop } = this.#simulation;
    const chance = this.#chance;
    const ids = this.#simulation.members.map(({ id }) => id);
    this.#simulation.counts.add(fault);
    if (fault === 'loss') network.faults.drop = chance.pick([0.05, 0.3]);
    else if (fault === 'duplicate') network.faults.double = 0.1;
    else if (fault === 'straggler') network.faults.straggle = chance.pick([0.05, 0.2]);
    else if (fault === 'replay') network.faults.replay = chance.pick([0.02, 0.1]);
    else if (fault === 'flapping') this.#flap(victim, chance.between(4, 20));
    else if (fault === 'isolation') {
      cut(this.#simulation, (from, to) => (from === victim.id) !== (to === victim.id));
      // Clients that do not know go on asking it.
      for (const ms of [5, 20, 60]) loop.after(ms, () => void this.#simulation.clients.writeAt(victim));
    } else if (fault === 'one-way-cut') {
      const outward = chance.hits(0.5);
      cut(this.#simulation, (from, to) => (outward ? from : to) === victim.id);
    } else if (fault === 'ring') {
      const at = (id: MemberId): number => ids.indexOf(id);
      cut(this.#simulation, (from, to) => {
        const apart = Math.abs(at(from) - at(to));
        return apart !== 1 && apart !== ids.length - 1;
      });
      if (ids.length === 3) network.block(must(ids[0], 'first'), must(ids[2], 'last'));
    } else if (fault === 'bridge') {
      const half = ids.filter((id) => id !== victim.id).slice(0, (ids.length - 1) / 2);
      const other = (id: MemberId): boolean => id !== victim.id && !half.includes(id);
      cut(this.#simulation, (from, to) => {
        return (half.includes(from) && other(to)) || (other(from) && half.includes(to));
      });
    } else if (fault === 'random-cut') cut(this.#simulation, () => chance.hits(0.3));
    else if (fault === 'false-death') {
      // A mistake of the death watch: it may cost an election, never safety.
      for (const id of ids) if (chance.hits(0.5)) network.announceEnd(id, victim.id);
    }
  }

  #flap(victim: SimMember, times: number): void {
    if (this.#ended) return;
    const { network, loop, members } = this.#simulation;
    for (const { id } of members) {
      if (times % 2 === 0) network.block(id, victim.id);
      else network.unblock(id, victim.id);
    }
    if (times === 0) return;
    loop.after(this.#chance.between(100, 900), () => {
      this.#flap(victim, times - 1);
    });
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

  /** Tells whether it was a fault of a disk that leaves what is on it whole. */
  #disk(fault: Fault, victim: SimMember): boolean {
    const { counts, loop } = this.#simulation;
    const chance = this.#chance;
    const disk = chance.hits(0.7) ? victim.disk : victim.stateDisk;
    if (fault === 'slow-disk') victim.diskMs = chance.pick([5, 100, 1_000]);
    else if (fault === 'stalled-disk') {
      victim.diskMs = 8_000;
      loop.after(chance.between(500, 6_000), () => {
        victim.diskMs = 1;
      });
    } else if (fault === 'full-disk') {
      disk.full = true;
      loop.after(chance.between(500, 3_000), () => {
        disk.full = false;
      });
    } else if (fault === 'failed-write') disk.failNextWrite();
    else if (fault === 'crash-at-io') {
      disk.armCrash(chance.pick(WRITE_EDGES), () => {
        counts.add('crash-at-io');
        this.#simulation.crash(victim);
      });
      return true;
    } else return false;
    counts.add(fault);
    return true;
  }

  /**
   * Only of a minority, one file of each, and while the member is down: the fault model (evidence.md, 13).
   */
  async #damage(fault: Fault, victim: SimMember): Promise<void> {
    const { members, counts } = this.#simulation;
    const sound = members.filter((member) => member.damage === undefined && member !== victim);
    const configurations = relevant(members);
    const settled = configurations.length === 1 && configurations[0]?.outgoing.length === 0;
    if (victim.damage !== undefined || !settled || !this.#calm) return;
    if (
      !carries(
        configurations,
        sound.map(({ id }) => id),
      )
    )
      return;
    this.#damagedMs = this.#simulation.loop.nowMs;
    this.#simulation.crash(victim);
    if (!this.#spoil(fault, victim)) return;
    victim.damage = fault;
    counts.add(fault);
    await this.#simulation.start(victim);
  }

  #spoil(fault: Fault, victim: SimMember): boolean {
    const { disk } = victim;
    const chance = this.#chance;
    if (fault === 'damaged-state') return this.#spoilState(victim.stateDisk);
    if (fault === 'lost-state') {
      victim.stateDisk.wipe();
      return true;
    }
    const keys = disk.keys();
    const entries = keys.filter((name) => name.startsWith('e'));
    if (keys.length === 0) return false;
    if (fault === 'wipe') disk.wipe();
    else if (fault === 'bit-flip') disk.flip(this.#recordOf(keys), () => chance.next());
    else if (fault === 'lost-record') disk.forget(this.#recordOf(keys));
    else if (fault === 'torn-batch') {
      // The hard state of a batch is there and its last entry is not.
      const last = entries.at(-1);
      if (last === undefined) return false;
      disk.forget(last);
    } else {
      const image = this.#images.get(victim);
      const stored = image?.records.get(HARD_STATE_KEY.toString());
      // A loss of power may take the witness along; then nothing vouches for the newer writes.
      if (image === undefined || stored === undefined) return false;
      if (decodeHardState(stored).writes >= disk.witnessed) return false;
      disk.rollBack(image);
    }
    return true;
  }

  /** Members whose log no longer holds all that their state came of; `other` where there is none. */
  #compacted(other: SimMember): readonly SimMember[] {
    const found = this.#simulation.members.filter(({ disk, damage }) => {
      const stored = disk.durable(HARD_STATE_KEY);
      return damage === undefined && stored !== undefined && decodeHardState(stored).base.index > 0;
    });
    return found.length > 0 ? found : [other];
  }

  /** One of a log's records; often the one that holds term and vote. */
  #recordOf(keys: readonly string[]): string {
    return this.#chance.hits(0.3) ? HARD_STATE_KEY.toString() : this.#chance.pick(keys);
  }

  /** Of the state, what is lost as a whole can be applied anew if the log still has it. */
  #spoilState(disk: SimDisk): boolean {
    const chance = this.#chance;
    const keys = disk.keys();
    if (keys.length === 0) return false;
    if (chance.hits(0.4)) disk.flip(chance.pick(keys), () => chance.next());
    else if (chance.hits(0.5)) disk.forget(chance.pick(keys));
    else disk.wipe();
    return true;
  }
}

function cut(simulation: Simulation, cuts: (from: MemberId, to: MemberId) => boolean): void {
  const ids = simulation.members.map(({ id }) => id);
  for (const from of ids) {
    for (const to of ids) if (from !== to && cuts(from, to)) simulation.network.block(from, to);
  }
}
