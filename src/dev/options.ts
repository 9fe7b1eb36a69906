/** What `tidemark dev` is told. */
export interface DevOptions {
  readonly data: string;
  readonly ephemeral: boolean;
  /** Row changes per second. */
  readonly rate: number;
  /** Milliseconds; undefined: until a signal. */
  readonly duration: number | undefined;
  readonly verify: boolean;
  readonly chaos: boolean;
  readonly seed: number;
  readonly mysql: boolean;
  readonly mysqlUrl: string | undefined;
}

/** A run that is to end with a verdict ends by itself. */
const VERDICT_DURATION_MS = 30_000;

export function durationOf({ duration, verify, chaos }: DevOptions): number | undefined {
  return duration ?? (verify || chaos ? VERDICT_DURATION_MS : undefined);
}
