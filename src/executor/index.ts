/**
 * The worker: joins the cluster, runs report SQL window by window, merges results exactly once, hosts
 * collectors.
 */
export { startExecutor, type ExecutorOptions, type RunningExecutor } from './process.ts';
