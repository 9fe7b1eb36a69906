/** What a row of the table of errors holds: retry advice, exit code and gRPC status. */

/** What a caller may do after an error: nothing, the same again later, or the same at another node. */
export type Retry = 'never' | 'later' | 'another-node' | 'same-request-id';

/** Exit codes of the command line, after sysexits.h where it has one. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  badInput: 65,
  notFound: 66,
  unavailable: 69,
  internal: 70,
  tryAgain: 75,
  config: 78,
} as const;

/** Numbers of gRPC statuses (grpc.github.io, statuscodes), written here so that `base` imports nothing. */
export const GRPC = {
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
} as const;

export interface ErrorRow {
  readonly meaning: string;
  readonly retry: Retry;
  readonly exit: number;
  readonly grpc: number;
}

export function row(meaning: string, retry: Retry, exit: number, grpc: number): ErrorRow {
  return { meaning, retry, exit, grpc };
}
