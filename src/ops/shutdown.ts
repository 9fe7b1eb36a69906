/**
 * The orderly end of a process: closers run one after the other, the last added first, within one deadline.
 * A second signal ends the process at once, and so does the deadline: a stop that hangs is not a stop.
 */
import { EXIT, toTidemarkError } from '../base/index.ts';
import type { Logger } from './logger.ts';

export interface Shutdown {
  /** Aborted when the shutdown begins; long waits take it as their signal. */
  readonly signal: AbortSignal;
  /** Registers what must be closed. Names show in the log when one hangs or fails. */
  add(name: string, close: () => Promise<void> | void): void;
  /** Begins the shutdown; later calls change nothing. The process exits with `exitCode` at its end. */
  begin(exitCode: number, reason: string): void;
}

export interface ShutdownOptions {
  readonly log: Logger;
  /** Milliseconds for all closers together. @default 10000 */
  readonly deadlineMs?: number;
  /** Handle SIGINT and SIGTERM. @default true */
  readonly signals?: boolean;
  /** Ends the process. @default process.exit */
  readonly exit?: (code: number) => void;
}

/** Makes the one shutdown of a process and, unless told otherwise, lets signals begin it. */
export function createShutdown(options: ShutdownOptions): Shutdown {
  const { log } = options;
  const exit = options.exit ?? ((code) => process.exit(code));
  const closers: { readonly name: string; readonly close: () => Promise<void> | void }[] = [];
  const controller = new AbortController();
  let current = '';

  const closeAll = async (): Promise<number> => {
    let failed: number = EXIT.ok;
    for (const { name, close } of closers.toReversed()) {
      current = name;
      try {
        await close();
      } catch (error) {
        failed = toTidemarkError(error).exitCode;
        log.error({ err: error, closer: name }, 'closing failed');
      }
    }
    return failed;
  };

  const begin = (exitCode: number, reason: string): void => {
    if (controller.signal.aborted) return;
    controller.abort(new Error(reason));
    log.info({ reason }, 'stopping');
    const timer = setTimeout(() => {
      log.error({ closer: current }, 'not closed within the deadline');
      exit(exitCode === EXIT.ok ? EXIT.failed : exitCode);
    }, options.deadlineMs ?? 10_000);
    void closeAll().then((failed) => {
      clearTimeout(timer);
      exit(exitCode === EXIT.ok ? failed : exitCode);
    });
  };

  if (options.signals ?? true) {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (controller.signal.aborted) exit(EXIT.failed);
        else begin(EXIT.ok, signal);
      });
    }
  }

  return {
    signal: controller.signal,
    add(name, close) {
      closers.push({ name, close });
    },
    begin,
  };
}
