/** The all-in-one local cluster behind `tidemark dev`. */
export { runDev } from './dev.ts';
export type { DevOptions } from './options.ts';
export type { RunReport } from './run-report.ts';
