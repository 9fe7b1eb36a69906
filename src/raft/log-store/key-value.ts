/** The little that the log needs of a key-value database. LevelDB and memory implement it. */

export interface KeyValueBatch {
  readonly puts: readonly (readonly [key: Uint8Array, value: Uint8Array])[];
  readonly deletes: readonly Uint8Array[];
}

export interface KeyRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
}

export interface KeyValueStore {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Visits the records of a range in byte order of their keys, until `visit` returns false. */
  scan(range: KeyRange, visit: (key: Uint8Array, value: Uint8Array) => boolean): Promise<void>;
  /** Writes all of a batch or nothing. With `sync`, it is durable when the promise resolves. */
  write(batch: KeyValueBatch, options: { readonly sync: boolean }): Promise<void>;
  close(): Promise<void>;
}
