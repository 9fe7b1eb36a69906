/**
 * Gathers the rows of a contribution as they come: a few are held, many are staged piece by piece at the
 * report database, so that no executor ever holds a large contribution.
 */
import { TidemarkError } from '../../base/index.ts';
import type { Contribution } from '../sink/merge.ts';
import type { ContributionRows } from '../sink/packs.ts';
import type { Staging } from '../sink/staging.ts';

export interface GathererOptions {
  /** Opens the stage, if there turn out to be many; undefined if nothing may be staged any more. */
  readonly stage: () => Promise<Staging | undefined>;
  readonly heldMax: number;
  readonly rowsMax: number;
  readonly pieceRows: number;
  /** Is told how many rows there are so far. */
  readonly progress?: (rows: number) => void;
}

export class Gatherer {
  readonly #options: GathererOptions;
  readonly #held: ContributionRows[][] = [];
  #heldRows = 0;
  #rows = 0;
  #staging: Staging | 'refused' | undefined;

  constructor(options: GathererOptions) {
    this.#options = options;
  }

  /**
   * Takes rows of the report's own (0) or of its n-th multiset (n). False if no more are wanted.
   * @throws TidemarkError `CONTRIBUTION_TOO_LARGE`, and those of a merge.
   */
  async take(pair: number, rows: ContributionRows): Promise<boolean> {
    this.#rows += rows.length;
    const { rowsMax } = this.#options;
    if (this.#rows > rowsMax) throw tooLarge(rowsMax);
    this.#options.progress?.(this.#rows);
    (this.#held[pair] ??= []).push(rows);
    this.#heldRows += rows.length;
    if (this.#staging === undefined && this.#heldRows <= this.#options.heldMax) return true;
    this.#staging ??= (await this.#options.stage()) ?? 'refused';
    return this.#flush();
  }

  /** What was gathered. After a refusal the merge finds out the same and says why. */
  async end(multisets: number): Promise<Contribution> {
    if (this.#staging === undefined) {
      const [additive = [], ...more] = Array.from({ length: multisets + 1 }, (_, pair) =>
        (this.#held[pair] ?? []).flat(),
      );
      return { additive, multisets: more };
    }
    await this.#flush();
    return this.#staging === 'refused' ? NOTHING : this.#staging.staged;
  }

  async #flush(): Promise<boolean> {
    for (const [pair, held] of this.#held.entries()) {
      const rows = held.flat();
      for (let from = 0; from < rows.length; from += this.#options.pieceRows) {
        if (this.#staging === undefined || this.#staging === 'refused') return false;
        const piece = rows.slice(from, from + this.#options.pieceRows);
        if (!(await this.#staging.write(pair, piece))) this.#staging = 'refused';
      }
      held.length = 0;
    }
    this.#heldRows = 0;
    return this.#staging !== 'refused';
  }
}

/** No attempt has this number's pieces. */
const NOTHING: Contribution = { attempt: 0n, pieces: -1, rows: 0 };

function tooLarge(rowsMax: number): TidemarkError {
  return new TidemarkError(
    'CONTRIBUTION_TOO_LARGE',
    `more than ${rowsMax} rows, the most that can be merged`,
    { next: 'Choose keys (or values of min, max and distinct) with fewer values.' },
  );
}
