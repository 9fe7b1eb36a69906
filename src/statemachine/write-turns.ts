/** The writes to one database, one after the other; once one has failed, none follows. */
import { mutated, TidemarkError } from '../base/index.ts';

export class WriteTurns {
  /** Settles when the write under way and all before it have. */
  #last: Promise<void> = Promise.resolve();
  #failed: TidemarkError | undefined;
  #onFailed: (error: TidemarkError) => void = () => undefined;

  /** @throws TidemarkError `STORAGE_FAILED`. */
  run(work: () => Promise<void>): Promise<void> {
    const before = this.#last;
    const turn = (async () => {
      await before;
      this.mustGoOn();
      try {
        await work();
      } catch (cause) {
        throw this.fail(cause);
      }
    })();
    this.#last = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }

  /** No write follows from now on. */
  fail(cause: unknown): TidemarkError {
    if (this.#failed !== undefined) return this.#failed;
    const text = 'the state could not be read or written';
    this.#failed = new TidemarkError('STORAGE_FAILED', text, { cause });
    if (!mutated('state.failedWriteUnnoticed')) this.#onFailed(this.#failed);
    return this.#failed;
  }

  /** Calls `listener` once when a write has failed. One listener is enough. */
  whenFailed(listener: (error: TidemarkError) => void): void {
    this.#onFailed = listener;
    if (this.#failed !== undefined) listener(this.#failed);
  }

  /** @throws TidemarkError `STORAGE_FAILED` once a write has failed. */
  mustGoOn(): void {
    if (this.#failed !== undefined) throw this.#failed;
  }

  /** Resolves when every write that was asked for has ended, well or not. */
  ended(): Promise<void> {
    return this.#last;
  }
}
