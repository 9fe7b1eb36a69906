/**
 * Assertions, error codes, limits, ids, codec and clock: what every other folder stands on. Imports nothing
 * of ours.
 */
export * from './address.ts';
export * from './assert.ts';
export * from './clock.ts';
export * from './codec.ts';
export * from './declare-again.ts';
export { EXIT, GRPC, type Retry } from './error-row.ts';
export * from './errors.ts';
export * from './fencing-token.ts';
export * from './ids.ts';
export * from './key-value-batch.ts';
export * from './limits.ts';
export * from './test-build.ts';
export * from './tidemark-error.ts';
