/** One coordinator process: what the command line starts. */
export { startCoordinator, type RunningCoordinator } from './coordinator.ts';
export type { CoordinatorOptions, ListenOptions } from './options.ts';
