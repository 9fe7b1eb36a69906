/**
 * Finds a row's id by the hash of its key: open addressing with linear probing, in partitions that grow one
 * at a time. One table of a million keys would hold the event loop for as long as it takes to double it.
 */
const PARTITIONS = 256;
const FIRST_CELLS = 8;
/** Cells hold id + 1. */
const EMPTY = 0;

export interface IndexParts {
  readonly hashes: Uint32Array<ArrayBuffer>;
  readonly cells: readonly (Uint32Array<ArrayBuffer> | undefined)[];
  readonly counts: readonly number[];
}

/** Hashes the bytes of a key, for {@link KeyIndex} alone. */
export function hashKey(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Makes the index of the ids below `count` by the hashes of their keys, one partition after the other. */
export function indexOf(hashes: Uint32Array<ArrayBuffer>, count: number): IndexParts {
  const counts = new Uint32Array(PARTITIONS);
  for (let id = 0; id < count; id++) {
    const partition = (hashes[id] as number) % PARTITIONS;
    counts[partition] = (counts[partition] as number) + 1;
  }
  // Ids by partition: put into their cells as they come, each would miss the processor's cache.
  const next = new Uint32Array(PARTITIONS);
  for (let at = 1; at < PARTITIONS; at++) next[at] = (next[at - 1] as number) + (counts[at - 1] as number);
  const ids = new Uint32Array(count);
  for (let id = 0; id < count; id++) {
    const partition = (hashes[id] as number) % PARTITIONS;
    const at = next[partition] as number;
    ids[at] = id;
    next[partition] = at + 1;
  }
  let at = 0;
  const cells = Array.from(counts, (rows) => {
    if (rows === 0) return undefined;
    const made = new Uint32Array(cellsFor(rows));
    for (const end = at + rows; at < end; at++) {
      const id = ids[at] as number;
      put(made, hashes[id] as number, id + 1);
    }
    return made;
  });
  return { hashes, cells, counts: [...counts] };
}

/** As many as adding one by one leads to. */
function cellsFor(rows: number): number {
  let cells = FIRST_CELLS;
  while (rows * 4 > cells * 3) cells *= 2;
  return cells;
}

export class KeyIndex {
  readonly #cells: (Uint32Array<ArrayBuffer> | undefined)[];
  readonly #counts: number[];
  /** By id: to look into the rows for them would cost a miss of the processor's cache for each. */
  #hashes: Uint32Array<ArrayBuffer>;

  constructor(parts?: IndexParts) {
    this.#hashes = parts?.hashes ?? new Uint32Array(64);
    this.#cells = parts === undefined ? Array.from({ length: PARTITIONS }) : [...parts.cells];
    this.#counts = parts === undefined ? Array.from({ length: PARTITIONS }, () => 0) : [...parts.counts];
  }

  /** Returns the id of a row with this hash of which `matches` is true, -1 if there is none. */
  find(hash: number, matches: (id: number) => boolean): number {
    const cells = this.#cells[hash % PARTITIONS];
    if (cells === undefined) return -1;
    const mask = cells.length - 1;
    for (let at = cellOf(hash) & mask; ; at = (at + 1) & mask) {
      const cell = cells[at] ?? EMPTY;
      if (cell === EMPTY) return -1;
      if (this.#hashes[cell - 1] === hash && matches(cell - 1)) return cell - 1;
    }
  }

  /** Adds the id of a row whose key is not in the index. */
  add(hash: number, id: number): void {
    if (id >= this.#hashes.length) this.#growHashes();
    this.#hashes[id] = hash;
    const partition = hash % PARTITIONS;
    const count = (this.#counts[partition] ?? 0) + 1;
    this.#counts[partition] = count;
    let cells = this.#cells[partition] ?? new Uint32Array(FIRST_CELLS);
    if (count * 4 > cells.length * 3) {
      const larger = new Uint32Array(cells.length * 2);
      for (const cell of cells) if (cell !== EMPTY) put(larger, this.#hashes[cell - 1] ?? 0, cell);
      cells = larger;
    }
    put(cells, hash, id + 1);
    this.#cells[partition] = cells;
  }

  /** Takes out an id, and closes the gap that it leaves. */
  delete(hash: number, id: number): void {
    const partition = hash % PARTITIONS;
    const cells = this.#cells[partition];
    if (cells === undefined) return;
    const mask = cells.length - 1;
    let at = cellOf(hash) & mask;
    while (cells[at] !== id + 1) {
      if (cells[at] === EMPTY) return;
      at = (at + 1) & mask;
    }
    cells[at] = EMPTY;
    this.#counts[partition] = (this.#counts[partition] ?? 1) - 1;
    for (let next = (at + 1) & mask; cells[next] !== EMPTY; next = (next + 1) & mask) {
      const cell = cells[next] ?? EMPTY;
      cells[next] = EMPTY;
      put(cells, this.#hashes[cell - 1] ?? 0, cell);
    }
  }

  #growHashes(): void {
    const hashes = new Uint32Array(this.#hashes.length * 2);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
  }
}

/** The low bits choose the partition. */
const cellOf = (hash: number): number => hash >>> 8;

function put(cells: Uint32Array, hash: number, cell: number): void {
  const mask = cells.length - 1;
  let at = cellOf(hash) & mask;
  while (cells[at] !== EMPTY) at = (at + 1) & mask;
  cells[at] = cell;
}
