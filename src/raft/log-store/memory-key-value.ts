/**
 * A disk in memory that loses what was not synced: for the simulator and the contract suite. The disk
 * outlives the stores that are opened on it, as a folder outlives processes.
 */
import { TidemarkError, must } from '../../base/index.ts';
import type { KeyRange, KeyValueBatch, KeyValueStore } from './key-value.ts';
import type { Witness } from './witness.ts';

interface PendingWrite {
  readonly batch: KeyValueBatch;
}

export interface MemoryDiskOptions {
  /** Calls `run` once a write has had the time that it takes. @default the end of the turn */
  readonly later?: (run: () => void) => void;
}

export class MemoryDisk {
  readonly #later: (run: () => void) => void;
  #durable = new Map<string, Uint8Array>();
  #current = new Map<string, Uint8Array>();
  #pending: PendingWrite[] = [];
  #owner: object | undefined;
  #witnessed = 0;
  #broken = false;

  constructor(options: MemoryDiskOptions = {}) {
    this.#later = options.later ?? queueMicrotask;
  }

  /** @throws TidemarkError `DATA_IN_USE` while another store is open on it. */
  open(): KeyValueStore {
    if (this.#owner !== undefined) throw new TidemarkError('DATA_IN_USE', 'another process uses this disk');
    const owner = {};
    this.#owner = owner;
    const alive = (): boolean => this.#owner === owner;
    return {
      get: (key) => Promise.resolve(this.#current.get(nameOf(key))),
      scan: (range, visit) => {
        this.#scan(range, visit);
        return Promise.resolve();
      },
      write: (batch, { sync }) => this.#write(batch, { sync, alive }),
      close: () => {
        if (alive()) this.#owner = undefined;
        return Promise.resolve();
      },
    };
  }

  /** The witness beside the store: never synced, but nothing here loses it except {@link crash}. */
  openWitness(): Witness {
    return {
      read: () => Promise.resolve(this.#witnessed),
      advance: (writes) => {
        this.#witnessed = writes;
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    };
  }

  /**
   * Power is lost: everything that was never synced is gone, except the first `kept` of those writes, which
   * happened to reach the disk. The witness may be lost. Promises of writes under way never settle.
   */
  crash(kept: number, witnessLost = false): void {
    if (witnessLost) this.#witnessed = 0;
    for (const write of this.#pending.slice(0, kept)) applyTo(this.#durable, write.batch);
    this.#pending = [];
    this.#current = new Map(this.#durable);
    this.#owner = undefined;
  }

  /** What would be found under `key` if power were lost now. */
  durable(key: Uint8Array): Uint8Array | undefined {
    return this.#durable.get(nameOf(key));
  }

  get unsyncedWrites(): number {
    return this.#pending.length;
  }

  /** From now on every write fails. */
  breakDown(): void {
    this.#broken = true;
  }

  /** Flips one bit of what is stored under `key`, as a failing disk does. */
  damage(key: Uint8Array, bit: number): void {
    const name = nameOf(key);
    const value = Uint8Array.from(must(this.#durable.get(name), 'a stored value to damage'));
    const at = bit >> 3;
    value[at] = must(value[at], 'a byte to damage') ^ (1 << (bit & 7));
    this.#durable.set(name, value);
    this.#current.set(name, value);
  }

  /** Loses a record that was stored, as LevelDB does when a block of its own log is damaged. */
  forget(key: Uint8Array): void {
    this.#durable.delete(nameOf(key));
    this.#current.delete(nameOf(key));
  }

  #scan(range: KeyRange, visit: (key: Uint8Array, value: Uint8Array) => boolean): void {
    const from = nameOf(range.gte);
    const to = nameOf(range.lt);
    const names = [...this.#current.keys()].filter((name) => name >= from && name < to).sort();
    for (const name of names) {
      if (!visit(Buffer.from(name, 'latin1'), must(this.#current.get(name), name))) return;
    }
  }

  #write(
    batch: KeyValueBatch,
    state: { readonly sync: boolean; readonly alive: () => boolean },
  ): Promise<void> {
    if (this.#broken) return Promise.reject(new TidemarkError('STORAGE_FAILED', 'the disk is broken'));
    const write: PendingWrite = { batch };
    applyTo(this.#current, batch);
    this.#pending.push(write);
    return new Promise((resolve) => {
      this.#later(() => {
        if (!state.alive()) return;
        if (state.sync) this.#sync(write);
        resolve();
      });
    });
  }

  /** A sync takes everything before it along, as one file's does. */
  #sync(write: PendingWrite): void {
    const upTo = this.#pending.indexOf(write) + 1;
    for (const { batch } of this.#pending.splice(0, upTo)) applyTo(this.#durable, batch);
  }
}

function applyTo(records: Map<string, Uint8Array>, batch: KeyValueBatch): void {
  for (const key of batch.deletes) records.delete(nameOf(key));
  for (const [key, value] of batch.puts) records.set(nameOf(key), value);
}

/** One character per byte: strings compare as the bytes do. */
function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
