/** From a source's change log to sealed windows: inspection, capture, the store's tables, the collector. */
export {
  runCollector,
  type CollectorEngines,
  type CollectorLog,
  type CollectorOptions,
} from './collector.ts';
export type { ChangeSource } from './change-source.ts';
export { exactSelect } from './column-codec.ts';
export { keepDayPartitions } from './day-partitions.ts';
export { installEmbeddedCapture } from './embedded-capture.ts';
export { inspectDimension, inspectSource, type TableRequest } from './inspect-source.ts';
export { openChangeSource } from './open-change-source.ts';
export type { SchemaChange } from './schema-change.ts';
export { RowChecksum } from './row-checksum.ts';
export { changeColumnType, createStoreTables } from './store-tables.ts';
