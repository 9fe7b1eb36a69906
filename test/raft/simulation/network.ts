import type { MemberId } from '../../../src/base/index.ts';
import type { Chance, SimLoop } from './loop.ts';

/** How bad the network is, as probabilities per frame. */
export interface NetworkFaults {
  drop: number;
  double: number;
  /** A frame that is delayed far beyond the others, so that it overtakes nothing and is overtaken. */
  straggle: number;
}

export type Receive = (from: MemberId, frame: Uint8Array) => void;

/** Loses, doubles, delays and reorders frames, and blocks directed links. */
export class SimNetwork {
  faults: NetworkFaults = { drop: 0, double: 0, straggle: 0 };
  readonly #loop: SimLoop;
  readonly #chance: Chance;
  readonly #blocked = new Set<string>();
  readonly #receivers = new Map<MemberId, Receive>();
  readonly #mourners = new Map<MemberId, (id: MemberId) => void>();
  #onWire: (from: MemberId, to: MemberId, frame: Uint8Array) => void = () => undefined;

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
  onWire(see: (from: MemberId, to: MemberId, frame: Uint8Array) => void): void {
    this.#onWire = see;
  }

  block(from: MemberId, to: MemberId): void {
    this.#blocked.add(`${from}>${to}`);
  }

  heal(): void {
    this.#blocked.clear();
  }

  send(from: MemberId, to: MemberId, frame: Uint8Array): void {
    this.#onWire(from, to, frame);
    if (this.#chance.hits(this.faults.drop)) return;
    this.#deliver(from, to, frame);
    if (this.#chance.hits(this.faults.double)) this.#deliver(from, to, frame);
  }

  #deliver(from: MemberId, to: MemberId, frame: Uint8Array): void {
    const straggles = this.#chance.hits(this.faults.straggle);
    const delayMs = straggles ? this.#chance.between(50, 3_000) : 0.2 + this.#chance.next() * 2;
    this.#loop.after(delayMs, () => {
      if (!this.#blocked.has(`${from}>${to}`)) this.#receivers.get(to)?.(from, frame);
    });
  }
}
