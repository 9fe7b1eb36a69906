/** The writes to one database, one after the other; once one has failed, none follows. */
import { TidemarkError } from '../base/index.ts';

export class WriteTurns {
  /** Settles when the write under way and all before it have. */
  #last: Promise<void> = Promise.resolve();
  #failed: TidemarkError | undefined;

  /** @throws TidemarkError `STORAGE_FAILED`. */
  run(work: () => Promise<void>): Promise<void> {
    const before = this.#last;
    const turn = (async () => {
      await before;
      if (this.#failed !== undefined) throw this.#failed;
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
    const text = 'the state could not be read or written';
    this.#failed ??= new TidemarkError('STORAGE_FAILED', text, { cause });
    return this.#failed;
  }

  /** Resolves when every write that was asked for has ended, well or not. */
  ended(): Promise<void> {
    return this.#last;
  }
}
