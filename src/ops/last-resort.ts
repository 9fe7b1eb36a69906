/**
 * What happens to an error that nothing caught: it is written down and ends the process with its exit code.
 */
import { AssertionError, EXIT, toTidemarkError } from '../base/index.ts';
import type { Logger } from './logger.ts';

/** Maps any error to the exit code of the process that it ends (`src/base/errors.ts`). */
export function exitCodeOf(error: unknown): number {
  return error instanceof AssertionError ? EXIT.internal : toTidemarkError(error).exitCode;
}

/**
 * Ends the process on an uncaught exception or rejection. Nothing is closed in an orderly way: after a broken
 * invariant the state in memory is not to be trusted, and every store here survives a kill at any moment.
 */
export function installLastResort(
  log: Logger,
  exit: (code: number) => void = (code) => process.exit(code),
): void {
  const end = (error: unknown): void => {
    log.error({ err: error }, 'ended by an error that nothing caught');
    exit(exitCodeOf(error));
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
}
