import type { ResultSet, TakePiece } from './engine.ts';

/** Keeps what the taker of a result's pieces throws apart from errors of the statement. */
export class Taker {
  readonly #take: TakePiece;
  #problem: { readonly error: unknown } | undefined;

  constructor(take: TakePiece) {
    this.#take = take;
  }

  /** An error ends the reading as false does. */
  async take(piece: ResultSet): Promise<boolean> {
    try {
      return await this.#take(piece);
    } catch (error) {
      this.#problem = { error };
      return false;
    }
  }

  get failed(): boolean {
    return this.#problem !== undefined;
  }

  rethrow(): void {
    if (this.#problem !== undefined) throw this.#problem.error;
  }
}
