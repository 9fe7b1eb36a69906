/** The durable log: its logic, and the databases under it. */
export type { KeyRange, KeyValueBatch, KeyValueStore } from './key-value.ts';
export { openLevelKeyValue } from './level-key-value.ts';
export { MemoryDisk, type MemoryDiskOptions } from './memory-key-value.ts';
export { HARD_STATE_KEY, IDENTITY_KEY, decodeHardState, entryKey, type LogIdentity } from './log-records.ts';
export { openFileWitness, type Witness } from './witness.ts';
export { openLogStore, type LogStore, type LogStoreOptions, type LogWrite } from './log-store.ts';
