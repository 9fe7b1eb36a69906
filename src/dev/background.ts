/** Work that goes on beside a run. The first failure of any of it ends the run, and is thrown at its end. */
export class Background {
  readonly #onFailure: (error: Error) => void;
  readonly #running = new Map<string, Promise<void>>();
  #failure: Error | undefined;

  constructor(onFailure: (error: Error) => void) {
    this.#onFailure = onFailure;
  }

  start(name: string, work: Promise<unknown>): void {
    this.#running.set(
      name,
      work.then(
        () => undefined,
        (error: unknown) => {
          this.#failure ??= error instanceof Error ? error : new Error(String(error), { cause: error });
          this.#onFailure(this.#failure);
        },
      ),
    );
  }

  /** Resolves when the named work has ended, well or not. */
  async settled(name: string): Promise<void> {
    await this.#running.get(name);
  }

  /** Resolves when the named work has ended; throws the first failure there was. */
  async ended(...names: readonly string[]): Promise<void> {
    for (const name of names) await this.#running.get(name);
    if (this.#failure !== undefined) throw this.#failure;
  }
}
