import type { MemberId } from '../../../src/base/index.ts';
import type { Chance, SimLoop } from './loop.ts';

/** How bad the network is, as probabilities per frame. */
export interface NetworkFaults {
  drop: number;
  double: number;
  /** A frame that is delayed far beyond the others, so that it overtakes nothing and is overtaken. */
  straggle: number;
  /** An old frame of the same link comes once more. */
  replay?: number;
}

type See = (from: MemberId, to: MemberId, frame: Uint8Array) => void;

export type Receive = (from: MemberId, frame: Uint8Array) => void;

const KEPT_FRAMES = 200;

/** Loses, doubles, delays, reorders and repeats frames, and blocks directed links. */
export class SimNetwork {
  faults: NetworkFaults = { drop: 0, double: 0, straggle: 0 };
  readonly #loop: SimLoop;
  readonly #chance: Chance;
  readonly #blocked = new Set<string>();
  readonly #receivers = new Map<MemberId, Receive>();
  readonly #mourners = new Map<MemberId, (id: MemberId) => void>();
  readonly #old = new Map<string, Uint8Array[]>();
  #sound: ReadonlySet<MemberId> = new Set();
  readonly #onWire: See[] = [];

  constructor(loop: SimLoop, chance: Chance) {
    this.#loop = loop;
    this.#chance = chance;
  }

  attach(id: MemberId, receive: Receive | undefined): void {
    if (receive === undefined) this.#receivers.delete(id);
    else this.#receivers.set(id, receive);
  }

  attachMourner(id: MemberId, hear: (gone: MemberId) => void): void {
    this.#mourners.set(id, hear);
  }

  /** Tells a member that another's process has ended, rightly or not. */
  announceEnd(to: MemberId, gone: MemberId): void {
    this.#loop.after(this.#chance.between(1, 40), () => this.#mourners.get(to)?.(gone));
  }

  /** Sees every frame that leaves a member, also those that are lost on the way. */
  onWire(see: See): void {
    this.#onWire.push(see);
  }

  block(from: MemberId, to: MemberId): void {
    this.#blocked.add(`${from}>${to}`);
  }

  unblock(from: MemberId, to: MemberId): void {
    this.#blocked.delete(`${from}>${to}`);
  }

  heal(): void {
    this.#blocked.clear();
  }

  /** From now on nothing happens to frames between these members; the rest stays as it is. */
  healAmong(ids: readonly MemberId[]): void {
    this.#sound = new Set(ids);
  }

  send(from: MemberId, to: MemberId, frame: Uint8Array): void {
    for (const see of this.#onWire) see(from, to, frame);
    if (this.#isSound(from, to)) {
      this.#deliver(from, to, frame, false);
      return;
    }
    if (this.#chance.hits(this.faults.drop)) return;
    this.#deliver(from, to, frame, this.#chance.hits(this.faults.straggle));
    if (this.#chance.hits(this.faults.double)) this.#deliver(from, to, frame, false);
    this.#repeatOld(from, to, frame);
  }

  #repeatOld(from: MemberId, to: MemberId, frame: Uint8Array): void {
    const link = `${from}>${to}`;
    const old = this.#old.get(link) ?? [];
    this.#old.set(link, old);
    if (old.length > 0 && this.#chance.hits(this.faults.replay ?? 0)) {
      this.#deliver(from, to, this.#chance.pick(old), false);
    }
    if (old.length < KEPT_FRAMES) old.push(frame);
    else old[this.#chance.between(0, KEPT_FRAMES - 1)] = frame;
  }

  #deliver(from: MemberId, to: MemberId, frame: Uint8Array, straggles: boolean): void {
    const delayMs = straggles ? this.#chance.between(50, 3_000) : 0.2 + this.#chance.next() * 2;
    this.#loop.after(delayMs, () => {
      if (this.#isSound(from, to) || !this.#blocked.has(`${from}>${to}`)) {
        this.#receivers.get(to)?.(from, frame);
      }
    });
  }

  #isSound(from: MemberId, to: MemberId): boolean {
    return this.#sound.has(from) && this.#sound.has(to);
  }
}
