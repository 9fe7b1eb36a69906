/** The error that crosses module and process borders, and how what was caught becomes one. */
import type { Retry } from './error-row.ts';
import { ERRORS, type ErrorCode } from './errors.ts';

export interface ErrorOptions {
  /** What the reader should do next, as a sentence or a command. */
  readonly next?: string;
  readonly cause?: unknown;
  /** Facts for a program: small, JSON-safe, never a secret. */
  readonly details?: Readonly<Record<string, string>>;
}

/** The one error class that crosses module and process borders. */
export class TidemarkError extends Error {
  override readonly name = 'TidemarkError';
  readonly code: ErrorCode;
  readonly next: string | undefined;
  readonly details: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.next = options.next;
    this.details = options.details ?? {};
  }

  get retry(): Retry {
    return ERRORS[this.code].retry;
  }

  get exitCode(): number {
    return ERRORS[this.code].exit;
  }

  get grpcStatus(): number {
    return ERRORS[this.code].grpc;
  }
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}

export function isTidemarkError(error: unknown, ...codes: readonly ErrorCode[]): error is TidemarkError {
  return error instanceof TidemarkError && (codes.length === 0 || codes.includes(error.code));
}

/** Maps whatever was caught to a {@link TidemarkError}; what we did not foresee becomes `INTERNAL`. */
export function toTidemarkError(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new TidemarkError('INTERNAL', message, { cause: error });
}
