/** What `coordinator start` and `executor start` share: logs, an orderly end, an end with the parent. */
import { EXIT, type TidemarkError } from '../../base/index.ts';
import {
  createLogger,
  createShutdown,
  endWithParent,
  exitCodeOf,
  installLastResort,
  type LogFormat,
  type LogLevel,
  type Logger,
  type Shutdown,
} from '../../ops/index.ts';

export interface ServeContext {
  readonly log: Logger;
  readonly shutdown: Shutdown;
  /** Ends the process with the error's exit code; for what cannot go on. */
  readonly onFatal: (error: unknown) => void;
}

/**
 * Runs `start`, then waits for the end of the process, which the shutdown brings. What `start` throws goes to
 * the command line's own rendering.
 */
export async function serve(
  input: { readonly role: string; readonly logLevel: LogLevel; readonly logFormat: LogFormat },
  start: (context: ServeContext) => Promise<void>,
): Promise<number> {
  const log = createLogger({ role: input.role, level: input.logLevel, format: input.logFormat });
  installLastResort(log);
  const shutdown = createShutdown({ log });
  endWithParent(() => {
    shutdown.begin(EXIT.failed, 'the parent process has gone');
  });
  await start({
    log,
    shutdown,
    onFatal(error) {
      log.error({ err: error }, 'cannot go on');
      process.exit(exitCodeOf(error));
    },
  });
  return new Promise<never>(() => undefined);
}

/** Logs renewed certificate files that cannot be used. */
export function certificateProblem(log: Logger): (error: TidemarkError) => void {
  return ({ code, message }) => {
    log.warn({ code, error: message }, 'the old certificate stays in use');
  };
}
