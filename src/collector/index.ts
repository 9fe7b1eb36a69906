/** From a source's change log to sealed windows: inspection, capture, the store's tables, the collector. */
export { runCollector } from './collector.ts';
export type { CollectorEngines, CollectorLog, CollectorOptions } from './collector-options.ts';
export type { ChangeSource, RowValues } from './change-source.ts';
export { exactSelect, rowCodec } from './column-codec.ts';
export { keepDayPartitions } from './day-partitions.ts';
export { installEmbeddedCapture } from './embedded-capture.ts';
export { inspectDimension, inspectSource, type TableRequest } from './inspect-source.ts';
export type { RowStates, RowStatesPart } from './former-rows.ts';
export { openChangeSource } from './open-change-source.ts';
export type { SchemaChange } from './schema-change.ts';
export { keyAfter } from './snapshot-rows.ts';
export { RowChecksum } from './row-checksum.ts';
export { changeColumnType, createStoreTables } from './store-tables.ts';
