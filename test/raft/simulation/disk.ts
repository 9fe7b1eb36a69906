/**
 * The simulator's disk: it outlives the stores that are opened on it, loses what was not synced, and fails
 * in the ways that LevelDB on a real disk was seen to fail. Time passes only through `later`.
 */
import { TidemarkError, must } from '../../../src/base/index.ts';
import type { KeyRange, KeyValueBatch, KeyValueStore, Witness } from '../../../src/raft/log-store/index.ts';

/** Between these moments of a write power can be lost. */
export const WRITE_EDGES = ['before-write', 'before-sync', 'after-sync', 'after-witness'] as const;
export type WriteEdge = (typeof WRITE_EDGES)[number];

/** What is on disk at one moment, to roll back to. */
export interface DiskImage {
  readonly records: ReadonlyMap<string, Uint8Array>;
}

export interface SimDiskOptions {
  /** Calls `run` once a write has had the time that it takes. */
  readonly later: (run: () => void, sync: boolean) => void;
  /** Hears of every write that became durable, for whoever compares two runs. */
  readonly onDurable?: (batch: KeyValueBatch) => void;
}

interface Armed {
  readonly edge: WriteEdge;
  readonly crash: () => void;
  /** Writes at other moments go through. */
  readonly when: () => boolean;
}

export class SimDisk {
  /** True while there is no space: every write fails. */
  full = false;
  readonly #options: SimDiskOptions;
  #durable = new Map<string, Uint8Array>();
  #current = new Map<string, Uint8Array>();
  #pending: KeyValueBatch[] = [];
  #owner: object | undefined;
  #witnessed = 0;
  #armed: Armed | undefined;
  #failsNext = false;
  #failed = false;

  constructor(options: SimDiskOptions) {
    this.#options = options;
  }

  /** True after a write has failed, until power is lost: whoever wrote must have ended itself. */
  get failed(): boolean {
    return this.#failed;
  }

  get unsyncedWrites(): number {
    return this.#pending.length;
  }

  get witnessed(): number {
    return this.#witnessed;
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

  openWitness(): Witness {
    return {
      read: () => Promise.resolve(this.#witnessed),
      advance: (writes) => {
        this.#witnessed = writes;
        return this.#reaches('after-witness') ? new Promise(() => undefined) : Promise.resolve();
      },
      close: () => Promise.resolve(),
    };
  }

  /**
   * Power is lost: of what was never synced, the first `kept` writes happened to reach the disk. The witness
   * may be lost. Promises of writes under way never settle.
   */
  crash(kept: number, witnessLost = false): void {
    if (witnessLost) this.#witnessed = 0;
    for (const batch of this.#pending.slice(0, kept)) this.#makeDurable(batch);
    this.#pending = [];
    this.#current = new Map(this.#durable);
    this.#owner = undefined;
    this.#armed = undefined;
    this.#failsNext = false;
    this.#failed = false;
  }

  /** Calls `crash` when the next write comes to `edge`; nothing of that write goes on then. */
  armCrash(edge: WriteEdge, crash: () => void, when = (): boolean => true): void {
    this.#armed = { edge, crash, when };
  }

  /** The next write fails, and may be found there all the same after a restart. */
  failNextWrite(): void {
    this.#failsNext = true;
  }

  /** From now on nothing fails. */
  mend(): void {
    this.full = false;
    this.#failsNext = false;
    this.#armed = undefined;
  }

  /** What would be found under `key` if power were lost now. */
  durable(key: Uint8Array): Uint8Array | undefined {
    return this.#durable.get(nameOf(key));
  }

  image(): DiskImage {
    return { records: new Map(this.#durable) };
  }

  /** The database's files are put back to what they were; the witness beside them is not. */
  rollBack(image: DiskImage): void {
    this.#durable = new Map(image.records);
    this.#current = new Map(image.records);
  }

  /** An empty disk: the witness is gone, too. */
  wipe(): void {
    this.rollBack({ records: new Map() });
    this.#witnessed = 0;
  }

  /** True if nothing is stored on it. */
  get empty(): boolean {
    return this.#current.size === 0;
  }

  /** Names of what is stored, in order. */
  keys(): readonly string[] {
    return [...this.#durable.keys()].sort();
  }

  /** Flips one bit of what is stored under a name, as a failing disk does. */
  flip(name: string, chance: () => number): void {
    const value = Uint8Array.from(must(this.#durable.get(name), 'a stored value to damage'));
    const at = Math.floor(chance() * value.length);
    value[at] = must(value[at], 'a byte to damage') ^ (1 << Math.floor(chance() * 8));
    this.#durable.set(name, value);
    this.#current.set(name, value);
  }

  /** Loses a record that was stored, as LevelDB does when a block of its own log is damaged. */
  forget(name: string): void {
    this.#durable.delete(name);
    this.#current.delete(name);
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
    // What lost its power in the middle of a turn does nothing more in it.
    if (!state.alive() || this.#reaches('before-write')) return new Promise(() => undefined);
    const fails = this.full || this.#failsNext;
    // A full disk takes nothing; another failed write may have reached it (evidence: fsync that fails).
    if (!this.full) {
      applyTo(this.#current, batch);
      this.#pending.push(batch);
    }
    this.#failsNext = false;
    return new Promise((resolve, reject) => {
      this.#options.later(() => {
        if (!state.alive()) return;
        if (fails) {
          this.#failed = true;
          reject(new TidemarkError('STORAGE_FAILED', 'the disk failed'));
          return;
        }
        if (this.#reaches('before-sync')) return;
        if (state.sync) this.#sync(batch);
        if (this.#reaches('after-sync')) return;
        resolve();
      }, state.sync);
    });
  }

  #reaches(edge: WriteEdge): boolean {
    const armed = this.#armed;
    if (armed?.edge !== edge || !armed.when()) return false;
    this.#armed = undefined;
    armed.crash();
    return true;
  }

  /** A sync takes everything before it along, as one file's does. */
  #sync(batch: KeyValueBatch): void {
    const upTo = this.#pending.indexOf(batch) + 1;
    for (const earlier of this.#pending.splice(0, upTo)) this.#makeDurable(earlier);
  }

  #makeDurable(batch: KeyValueBatch): void {
    applyTo(this.#durable, batch);
    this.#options.onDurable?.(batch);
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
