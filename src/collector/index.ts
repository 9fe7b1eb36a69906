/** From a source's change log to sealed windows: inspection, capture, the store's tables, the collector. */
export { runCollector } from './run-collector.ts';
export type { CollectorEngines, CollectorLog, CollectorOptions } from './collector-options.ts';
export type { ChangeSource, RowValues } from './change-source.ts';
export { exactSelect, rowCodec } from './schema/column-codec.ts';
export { keepDayPartitions } from './store/day-partitions.ts';
export { installEmbeddedCapture } from './embedded/embedded-capture.ts';
export { inspectDimension, inspectSource, type TableRequest } from './schema/inspect-source.ts';
export type { RowStates, RowStatesPart } from './snapshot/former-rows.ts';
export { openChangeSource } from './open-change-source.ts';
export type { SchemaChange } from './schema/schema-change.ts';
export { keyAfter } from './snapshot/snapshot-rows.ts';
export { RowChecksum } from './store/row-checksum.ts';
export { changeColumnType, createStoreTables } from './store/store-tables.ts';
