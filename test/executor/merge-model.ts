/**
 * A naive model of a report under merges, written from design 6.8 and 6.11 alone: it keeps every weighted
 * row of every standing contribution in a list, and computes each cell from the whole list whenever it is
 * asked.
 */

/** One row of a contribution before any grouping: what the report's SQL returned for one combination. */
export interface WeightedRow {
  readonly name: string;
  readonly amount: bigint | null;
  readonly label: string | null;
  readonly weight: 1n | -1n;
}

export interface Span {
  readonly first: number;
  readonly last: number;
}

interface Ledger {
  applied: bigint;
  floor: bigint;
  hole: boolean;
  rows: readonly WeightedRow[];
}

export interface ModelCell {
  readonly name: string;
  readonly n: bigint;
  readonly total: bigint | null;
  /** Sum and count, to be divided by whoever compares. */
  readonly mean: readonly [bigint, bigint] | null;
  readonly low: bigint | null;
  readonly high: string | null;
}

export interface ModelMark {
  readonly window: number;
  readonly holes: number;
}

export class MergeModel {
  readonly spans: readonly Span[];
  readonly parts: number;
  readonly #ledger = new Map<string, Ledger>();
  #foldedRows: readonly WeightedRow[] = [];
  #folded = 0;
  #mark: ModelMark = { window: 0, holes: 0 };

  constructor(spans: readonly Span[], parts: number) {
    this.spans = spans;
    this.parts = parts;
  }

  /** A model of its own that stands where this one does. */
  copy(): MergeModel {
    const copy = new MergeModel(this.spans, this.parts);
    for (const [key, ledger] of this.#ledger) copy.#ledger.set(key, { ...ledger });
    copy.#foldedRows = this.#foldedRows;
    copy.#folded = this.#folded;
    copy.#mark = this.#mark;
    return copy;
  }

  merge(span: Span, part: number, token: bigint, rows: readonly WeightedRow[]): string {
    if (span.first <= this.#folded) return 'FOLDED';
    const ledger = this.#row(span, part);
    if (ledger.applied === token) {
      this.#raise();
      return 'DONE again';
    }
    if (ledger.floor > token) return 'FENCED';
    const replaced = ledger.applied !== 0n;
    Object.assign(ledger, { applied: token, floor: token, hole: false, rows });
    this.#raise();
    return replaced ? 'DONE replaced' : 'DONE';
  }

  retract(span: Span, part: number, token: bigint): string {
    if (span.first <= this.#folded) return 'FOLDED';
    const ledger = this.#row(span, part);
    if (ledger.floor > token) return 'FENCED';
    Object.assign(ledger, { applied: 0n, floor: token, hole: true, rows: [] });
    this.#raise();
    return 'RETRACTED';
  }

  get mark(): ModelMark {
    return this.#mark;
  }

  /** Folded contributions become part of the report for good; holes stay what they are. */
  fold(upTo: number): number {
    for (const span of this.spans) {
      if (span.first !== this.#folded + 1 || span.last > Math.min(upTo, this.#mark.window)) continue;
      for (let part = 0; part < this.parts; part += 1) {
        this.#foldedRows = [...this.#foldedRows, ...this.#row(span, part).rows];
        if (!this.#row(span, part).hole) this.#ledger.delete(`${span.first}/${part}`);
      }
      this.#folded = span.last;
    }
    return this.#folded;
  }

  cells(): ModelCell[] {
    const rows = [...this.#foldedRows, ...[...this.#ledger.values()].flatMap((ledger) => ledger.rows)];
    const names = [...new Set(rows.map((row) => row.name))].sort();
    return names.flatMap((name) => {
      const cell = cellOf(
        name,
        rows.filter((row) => row.name === name),
      );
      return cell === undefined ? [] : [cell];
    });
  }

  /** Whatever settles a task raises the mark over every span that is settled, without a gap. */
  #raise(): void {
    let { window } = this.#mark;
    for (const span of this.spans) {
      if (span.first !== window + 1) continue;
      if (!this.#settled(span)) break;
      window = span.last;
    }
    const holes = [...this.#ledger].filter(
      ([key, ledger]) => ledger.hole && Number(key.split('/')[0]) <= window,
    );
    this.#mark = { window, holes: holes.length };
  }

  #settled(span: Span): boolean {
    for (let part = 0; part < this.parts; part += 1) {
      const { applied, hole } = this.#row(span, part);
      if (applied === 0n && !hole) return false;
    }
    return true;
  }

  #row(span: Span, part: number): Ledger {
    const key = `${span.first}/${part}`;
    const known = this.#ledger.get(key) ?? { applied: 0n, floor: 0n, hole: false, rows: [] };
    this.#ledger.set(key, known);
    return known;
  }
}

function cellOf(name: string, rows: readonly WeightedRow[]): ModelCell | undefined {
  const sum = (of: (row: WeightedRow) => bigint): bigint => rows.reduce((total, row) => total + of(row), 0n);
  if (sum((row) => row.weight) === 0n) return undefined;
  const n = sum((row) => (row.amount === null ? 0n : row.weight));
  const total = sum((row) => row.weight * (row.amount ?? 0n));
  return {
    name,
    n,
    total: n === 0n ? null : total,
    mean: n === 0n ? null : [total, n],
    low: present(rows, (row) => row.amount).at(0) ?? null,
    high: present(rows, (row) => row.label).at(-1) ?? null,
  };
}

/** Values of positive net weight in ascending order. */
function present<T extends bigint | string>(
  rows: readonly WeightedRow[],
  of: (row: WeightedRow) => T | null,
): T[] {
  const weights = new Map<T, bigint>();
  for (const row of rows) {
    const value = of(row);
    if (value !== null) weights.set(value, (weights.get(value) ?? 0n) + row.weight);
  }
  const values = [...weights].filter(([, weight]) => weight > 0n).map(([value]) => value);
  return values.sort((a, b) => (a < b ? -1 : 1));
}
