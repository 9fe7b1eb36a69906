/** Ctrl-C, SIGTERM and a closed terminal end a run in an orderly way; a second signal ends it at once. */
import { EXIT } from '../base/index.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface StopSignals {
  /** Aborted by the first signal, or by {@link end}. */
  readonly signal: AbortSignal;
  /** True if a signal came. */
  readonly interrupted: boolean;
  end(reason: Error): void;
  close(): void;
}

export function watchStopSignals(): StopSignals {
  const controller = new AbortController();
  let interrupted = false;
  const onSignal = (name: NodeJS.Signals): void => {
    // What this process started ends with it: each child by its channel, a stopped one by the watchdog.
    if (interrupted) process.exit(EXIT.failed);
    interrupted = true;
    controller.abort(new Error(name));
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    get interrupted() {
      return interrupted;
    },
    end(reason) {
      controller.abort(reason);
    },
    close() {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
