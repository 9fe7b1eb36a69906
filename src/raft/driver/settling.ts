/**
 * Callers that come while nobody leads, or while the lead is being handed over, wait a moment: soon this node
 * can serve them or knows who does. Sent away at once they would ask one member after the other in vain.
 */

/** 500 ms. A node that has been without a leader for longer, as one that is cut off, holds up nobody. */
const PATIENCE_TICKS = 10;

export class Settling {
  #unsettledTicks = 0;
  #settled = false;
  #over = false;
  #waiting: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  /** To be called after every step with whether this node leads, or follows a leader. */
  look(settled: boolean): void {
    if (this.#settled && !settled) this.#unsettledTicks = 0;
    this.#settled = settled;
    if (settled) this.#release();
  }

  tick(): void {
    if (this.#settled) return;
    this.#unsettledTicks++;
    if (this.#unsettledTicks >= PATIENCE_TICKS) this.#release();
  }

  /** Undefined when there is nothing to wait for. */
  wait(): Promise<void> | undefined {
    if (this.#settled || this.#over || this.#unsettledTicks >= PATIENCE_TICKS) return undefined;
    this.#waiting ??= newWaiting();
    return this.#waiting.promise;
  }

  /** This node ends: nothing is worth waiting for. */
  end(): void {
    this.#over = true;
    this.#release();
  }

  #release(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}

function newWaiting(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
