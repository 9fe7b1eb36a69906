/** What every process has: logs, health and metrics over HTTP, an orderly end, and an end with its parent. */
export { exitCodeOf, installLastResort } from './last-resort.ts';
export { LOG_LEVELS, createLogger, redactText } from './logger.ts';
export type { LogFormat, LogLevel, Logger, LoggerOptions } from './logger.ts';
export { createRegistry } from './metrics.ts';
export { listenError, startOpsServer } from './ops-server.ts';
export type { HealthCheck, OpsServer, OpsServerOptions } from './ops-server.ts';
export { endWithParent } from './parent.ts';
export { createShutdown } from './shutdown.ts';
export type { Shutdown, ShutdownOptions } from './shutdown.ts';
