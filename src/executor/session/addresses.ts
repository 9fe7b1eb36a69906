/** Which coordinator to dial next: where the leader is said to be, else one after the other. */
import { LIMITS } from '../../base/index.ts';
import type { Redirect } from '../../wire/index.ts';

/** As many addresses as a cluster has members, plus those that were configured. */
const ADDRESSES_MAX = LIMITS.membersMax * 4;

export class Addresses {
  readonly #all: string[];
  #preferred: string | undefined;
  #at = 0;

  constructor(configured: readonly string[]) {
    this.#all = [...new Set(configured)];
  }

  next(): string {
    if (this.#preferred !== undefined) return this.#preferred;
    const address = this.#all[this.#at % this.#all.length] ?? '';
    this.#at += 1;
    return address;
  }

  /** The leader was found there: after a break it is tried first, since most breaks are short. */
  prefer(address: string): void {
    this.#preferred = address;
  }

  /** Returns whether the redirect names a leader. Members that it lists are dialled from now on too. */
  redirected(redirect: Redirect): boolean {
    for (const address of redirect.clientAddresses) {
      if (address !== '' && !this.#all.includes(address) && this.#all.length < ADDRESSES_MAX) {
        this.#all.push(address);
      }
    }
    this.#preferred = redirect.clientAddress === '' ? undefined : redirect.clientAddress;
    return this.#preferred !== undefined;
  }

  failed(address: string): void {
    if (this.#preferred === address) this.#preferred = undefined;
  }
}
