/**
 * Faults of the disks by chance: slow, hanging, full and failing ones, power lost in the middle of a write,
 * and damage. Only a minority is damaged, one file of each and while the member is down: the fault model
 * (evidence.md, 13).
 */
import type { Configuration } from '../../../src/raft/index.ts';
import { HARD_STATE_KEY, decodeHardState } from '../../../src/raft/log-store/index.ts';
import type { Fault } from './counts.ts';
import { WRITE_EDGES, type DiskImage, type SimDisk } from './disk.ts';
import type { Chance } from './loop.ts';
import type { SimMember } from './member.ts';
import { carries, relevant } from './membership.ts';
import { hardStateOf } from './on-disk.ts';
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

export function isDamage(fault: Fault): boolean {
  return DAMAGE.includes(fault);
}

export class DiskFaults {
  readonly #simulation: Simulation;
  readonly #chance: Chance;
  readonly #images = new Map<SimMember, DiskImage>();
  damagedMs = -Infinity;

  constructor(simulation: Simulation, chance: Chance) {
    this.#simulation = simulation;
    this.#chance = chance;
  }

  /** Keeps what is on the disks now, to roll back to. */
  remember(): void {
    if (this.#images.size > 0) return;
    for (const member of this.#simulation.members) this.#images.set(member, member.disk.image());
  }

  /** Tells whether it was a fault of a disk that leaves what is on it whole. */
  strike(fault: Fault, victim: SimMember): boolean {
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

  /** Damages a disk, unless too many are needed as they are. */
  async damage(fault: Fault, chosen: SimMember): Promise<void> {
    const { members, counts, loop } = this.#simulation;
    const victim = fault === 'lost-state' ? this.#chance.pick(this.#compacted(chosen)) : chosen;
    const sound = members.filter((member) => member.damage === undefined && member !== victim);
    const configuration = this.#settled();
    if (victim.damage !== undefined || configuration === undefined) return;
    const ids = sound.map(({ id }) => id);
    if (!carries([configuration], ids)) return;
    this.damagedMs = loop.nowMs;
    this.#simulation.crash(victim);
    if (!this.#spoil(fault, victim)) return;
    victim.damage = fault;
    counts.add(fault);
    await this.#simulation.start(victim);
  }

  /** The one configuration that counts, if there is only one: those of members that are down count, too. */
  #settled(): Configuration | undefined {
    const { members, oracles } = this.#simulation;
    const [only, ...others] = relevant(members);
    if (only === undefined || others.length > 0 || only.outgoing.length > 0) return undefined;
    const later = members.some(({ id, refused }) => {
      return !refused && (oracles.lastConfigurationOf(id)?.index ?? 0) > only.index;
    });
    return later ? undefined : only;
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
    const found = this.#simulation.members.filter((member) => {
      return member.damage === undefined && (hardStateOf(member)?.base.index ?? 0) > 0;
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
