/** The database of the replicated state on a simulated disk: what `StateStore` uses of LevelDB. */
import { must } from '../../../src/base/index.ts';
import type { KeyValueStore } from '../../../src/raft/log-store/index.ts';
import type {
  DatabaseSnapshot,
  OpenDatabase,
  RowIterator,
  StateBatch,
  StateDatabase,
} from '../../../src/statemachine/index.ts';
import type { SimDisk } from './disk.ts';

type Row = [string, Uint8Array];

/** Returns what opens the database on a disk. Rows come in pages of at most `pageRows`. */
export function openSimLevel(disk: SimDisk, pageRows: number): OpenDatabase {
  return () => {
    const fresh = disk.empty;
    return Promise.resolve({ db: new SimLevel(disk.open(), pageRows), fresh });
  };
}

class SimSnapshot implements DatabaseSnapshot {
  readonly rows: readonly Row[];

  constructor(rows: readonly Row[]) {
    this.rows = rows;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class SimLevel implements StateDatabase {
  readonly #store: KeyValueStore;
  readonly #pageRows: number;

  constructor(store: KeyValueStore, pageRows: number) {
    this.#store = store;
    this.#pageRows = pageRows;
  }

  batch(): StateBatch {
    return new SimBatch(this.#store);
  }

  async *keys(): AsyncGenerator<string, void, undefined> {
    await Promise.resolve();
    for (const [key] of this.#rows()) yield key;
  }

  snapshot(): SimSnapshot {
    return new SimSnapshot(this.#rows());
  }

  iterator({ snapshot }: { readonly snapshot?: DatabaseSnapshot }): RowIterator {
    // An iterator of LevelDB sees what there was when it was made.
    const rows = snapshot instanceof SimSnapshot ? snapshot.rows : this.#rows();
    let at = 0;
    return {
      nextv: (size) => {
        const page = rows.slice(at, at + Math.min(size, this.#pageRows));
        at += page.length;
        return Promise.resolve(page);
      },
      close: () => Promise.resolve(),
    };
  }

  /** A synced write takes everything before it along. */
  compactRange(): Promise<void> {
    return this.#store.write({ puts: [], deletes: [] }, { sync: true });
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #rows(): readonly Row[] {
    const rows: Row[] = [];
    void this.#store.scan({ gte: Buffer.alloc(1, 0), lt: Buffer.alloc(1, 0xff) }, (key, value) => {
      rows.push([Buffer.from(key).toString(), value]);
      return true;
    });
    return rows;
  }
}

class SimBatch implements StateBatch {
  readonly #store: KeyValueStore;
  /** The last change of each key counts. */
  readonly #changes = new Map<string, Uint8Array | undefined>();

  constructor(store: KeyValueStore) {
    this.#store = store;
  }

  put(key: string, value: Uint8Array): this {
    // LevelDB copies it: the caller may use the bytes again.
    this.#changes.set(key, Uint8Array.from(value));
    return this;
  }

  del(key: string): this {
    this.#changes.set(key, undefined);
    return this;
  }

  write({ sync = false }: { readonly sync?: boolean } = {}): Promise<void> {
    const keys = [...this.#changes.keys()];
    const puts = keys.filter((key) => this.#changes.get(key) !== undefined);
    const deletes = keys.filter((key) => this.#changes.get(key) === undefined);
    return this.#store.write(
      {
        puts: puts.map((key) => [Buffer.from(key), must(this.#changes.get(key), key)] as const),
        deletes: deletes.map((key) => Buffer.from(key)),
      },
      { sync },
    );
  }
}
