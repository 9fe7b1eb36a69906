/**
 * Rows as bytes, packed into slabs, each found by a number that stays the same while the row lives. A million
 * small rows as objects cost several times their bytes, and the collector of garbage visits each of them.
 *
 * A slot holds id, key length and row length (4 bytes each), key and row, and begins at a multiple of 8.
 * A row that changes its size gets another slot. Once half of a full slab is dead its rows move together, so
 * that at most about half of all slabs is unused, and each byte written is moved once, on average, at most.
 */
import { assert, must } from '../../base/index.ts';

const UNIT_BYTES = 8;
const SLAB_BYTES = 256 * 1024;
const SLAB_UNITS = SLAB_BYTES / UNIT_BYTES;
/** The first slabs are small: most states have few keys. */
const FIRST_SLAB_BYTES = 4 * 1024;
export const SLOT_HEAD_BYTES = 12;
const NO_ROW = 0xffffffff;

/** One run of memory and what is used of it. */
export interface Slab {
  readonly bytes: Buffer;
  readonly view: DataView;
  end: number;
  dead: number;
}

/** A slab as it goes to another thread. */
export interface SlabParts {
  readonly buffer: ArrayBuffer;
  readonly end: number;
  readonly dead: number;
}

export interface PackedParts {
  readonly slabs: readonly (SlabParts | undefined)[];
  readonly places: Uint32Array<ArrayBuffer>;
  readonly ids: number;
  readonly freeIds: readonly number[];
}

/** Where a row lies now. Good until the next change of any row. */
export interface Slot {
  readonly slab: Slab;
  /** Byte at which the key begins. */
  readonly keyAt: number;
  /** Byte at which the row begins. */
  readonly rowAt: number;
  readonly end: number;
}

export class PackedRows {
  readonly #slabs: (Slab | undefined)[];
  readonly #freeSlabs: number[] = [];
  /** By id: the unit at which the slot begins, counted over all slabs. */
  #places: Uint32Array<ArrayBuffer>;
  #ids: number;
  readonly #freeIds: number[];
  #open: number;
  /** Slabs to look at when the change under way is complete: until then places of rows are in use. */
  readonly #untidy: number[] = [];

  constructor(parts?: PackedParts) {
    this.#slabs = (parts?.slabs ?? []).map((slab) => (slab === undefined ? undefined : slabOf(slab)));
    this.#slabs.forEach((slab, at) => {
      if (slab === undefined) this.#freeSlabs.push(at);
    });
    this.#places = parts?.places ?? new Uint32Array(64);
    this.#ids = parts?.ids ?? 0;
    this.#freeIds = [...(parts?.freeIds ?? [])];
    this.#open = this.#slabs.length - 1;
  }

  /** What the rows are made of, to be moved to another thread. These rows must not be used any more. */
  parts(): PackedParts {
    const slabs = this.#slabs.map((slab) =>
      slab === undefined
        ? undefined
        : { buffer: slab.bytes.buffer as ArrayBuffer, end: slab.end, dead: slab.dead },
    );
    return { slabs, places: this.#places, ids: this.#ids, freeIds: this.#freeIds };
  }

  /** Bytes of memory held. */
  get bytes(): number {
    return this.#slabs.reduce((sum, slab) => sum + (slab?.bytes.length ?? 0), 0);
  }

  /** Ids are below this. */
  get idsEnd(): number {
    return this.#ids;
  }

  isLive(id: number): boolean {
    return (this.#places[id] ?? NO_ROW) !== NO_ROW;
  }

  slabOf(id: number): Slab {
    return must(this.#slabs[Math.floor((this.#places[id] ?? 0) / SLAB_UNITS)], 'the slab of a row');
  }

  /** The byte of its slab at which the slot of a row begins. */
  startOf(id: number): number {
    return ((this.#places[id] ?? 0) % SLAB_UNITS) * UNIT_BYTES;
  }

  slotOf(id: number): Slot {
    const slab = this.slabOf(id);
    const at = this.startOf(id);
    const keyAt = at + SLOT_HEAD_BYTES;
    const rowAt = keyAt + slab.view.getUint32(at + 4, true);
    return { slab, keyAt, rowAt, end: rowAt + slab.view.getUint32(at + 8, true) };
  }

  /** Makes room for a row under a new id. The caller fills key and row at once. */
  add(keyBytes: number, rowBytes: number): number {
    const id = this.#freeIds.pop() ?? this.#ids++;
    if (id >= this.#places.length) this.#grow();
    this.#place(id, keyBytes, rowBytes);
    this.#tidy();
    return id;
  }

  /** Makes room for another size of a row. Its key goes along; the caller fills the row at once. */
  resize(id: number, rowBytes: number): void {
    const { slab, keyAt, rowAt, end } = this.slotOf(id);
    if (end - rowAt === rowBytes) return;
    const from = this.#places[id] ?? 0;
    this.#place(id, rowAt - keyAt, rowBytes);
    const to = this.slotOf(id);
    slab.bytes.copy(to.slab.bytes, to.keyAt, keyAt, rowAt);
    this.#bury(from);
    this.#tidy();
  }

  delete(id: number): void {
    const from = this.#places[id] ?? NO_ROW;
    assert(from !== NO_ROW, 'a row is deleted once');
    this.#places[id] = NO_ROW;
    this.#freeIds.push(id);
    this.#bury(from);
    this.#tidy();
  }

  #place(id: number, keyBytes: number, rowBytes: number): void {
    const length = slotBytes(keyBytes, rowBytes);
    assert(length <= SLAB_BYTES, 'a row fits a slab');
    let slab = this.#slabs[this.#open];
    if (slab === undefined || slab.end + length > slab.bytes.length) slab = this.#openSlab(length);
    const at = slab.end;
    slab.end += length;
    slab.view.setUint32(at, id, true);
    slab.view.setUint32(at + 4, keyBytes, true);
    slab.view.setUint32(at + 8, rowBytes, true);
    this.#places[id] = this.#open * SLAB_UNITS + at / UNIT_BYTES;
  }

  #openSlab(length: number): Slab {
    if (this.#open >= 0) this.#untidy.push(this.#open);
    const size = Math.min(SLAB_BYTES, Math.max(FIRST_SLAB_BYTES, length, 2 * this.#smallBytes()));
    const slab = slabOf({ buffer: new ArrayBuffer(size), end: 0, dead: 0 });
    this.#open = this.#freeSlabs.pop() ?? this.#slabs.length;
    this.#slabs[this.#open] = slab;
    return slab;
  }

  /** Sizes grow from the first slab on until they are full size. */
  #smallBytes(): number {
    return this.#slabs.length > 16 ? SLAB_BYTES : this.bytes;
  }

  /** Counts a slot as dead. */
  #bury(place: number): void {
    const number = Math.floor(place / SLAB_UNITS);
    const slab = must(this.#slabs[number], 'the slab of a dead row');
    const at = (place % SLAB_UNITS) * UNIT_BYTES;
    slab.view.setUint32(at, NO_ROW, true);
    slab.dead += slotBytes(slab.view.getUint32(at + 4, true), slab.view.getUint32(at + 8, true));
    this.#untidy.push(number);
  }

  #tidy(): void {
    for (let number = this.#untidy.pop(); number !== undefined; number = this.#untidy.pop()) {
      const slab = this.#slabs[number];
      const worthIt = slab !== undefined && number !== this.#open && slab.dead * 2 >= slab.end;
      if (worthIt) this.#evacuate(number, slab);
    }
  }

  /** Moves the live rows of a slab elsewhere, and gives it back. */
  #evacuate(number: number, slab: Slab): void {
    // Not visible any more: room that opens meanwhile never comes from it.
    this.#slabs[number] = undefined;
    let at = 0;
    while (at < slab.end) {
      const id = slab.view.getUint32(at, true);
      const keyBytes = slab.view.getUint32(at + 4, true);
      const rowBytes = slab.view.getUint32(at + 8, true);
      if (id !== NO_ROW) {
        this.#place(id, keyBytes, rowBytes);
        const to = this.slotOf(id);
        const keyAt = at + SLOT_HEAD_BYTES;
        slab.bytes.copy(to.slab.bytes, to.keyAt, keyAt, keyAt + keyBytes + rowBytes);
      }
      at += slotBytes(keyBytes, rowBytes);
    }
    this.#freeSlabs.push(number);
  }

  #grow(): void {
    const places = new Uint32Array(this.#places.length * 2);
    places.set(this.#places);
    this.#places = places;
  }
}

function slotBytes(keyBytes: number, rowBytes: number): number {
  return Math.ceil((SLOT_HEAD_BYTES + keyBytes + rowBytes) / UNIT_BYTES) * UNIT_BYTES;
}

function slabOf({ buffer, end, dead }: SlabParts): Slab {
  return { bytes: Buffer.from(buffer), view: new DataView(buffer), end, dead };
}
