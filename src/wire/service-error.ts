/**
 * Coded errors across gRPC: the code, the next step and small details travel in metadata, so that the other
 * side gets the same {@link TidemarkError} back. What carries no code is a failure of the connection.
 */
import { Metadata, status as Status, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { TidemarkError, isErrorCode, toTidemarkError, type ErrorCode } from '../base/index.ts';

export const CODE_KEY = 'tidemark-code';
export const NEXT_KEY = 'tidemark-next';
export const DETAILS_KEY = 'tidemark-details';
/** The client address of the leader, where the answering node knows one. */
export const LEADER_KEY = 'tidemark-leader';

/** HTTP/2 headers are bounded; a list of a hundred mistakes in a job file is cut rather than lost whole. */
const MESSAGE_BYTES_MAX = 8_000;
const DETAILS_BYTES_MAX = 4_000;

/** Makes the status that a gRPC handler answers with. What is not a coded error becomes `INTERNAL`. */
export function toServiceError(error: unknown): Error & Partial<StatusObject> {
  const known = toTidemarkError(error);
  const metadata = new Metadata();
  metadata.set(CODE_KEY, known.code);
  if (known.next !== undefined) metadata.set(NEXT_KEY, toHeader(known.next));
  if (known.details['leader'] !== undefined) metadata.set(LEADER_KEY, toHeader(known.details['leader']));
  const details = toHeader(JSON.stringify(known.details));
  if (details !== '{}' && details.length <= DETAILS_BYTES_MAX) metadata.set(DETAILS_KEY, details);
  const message = cut(known.message);
  return Object.assign(new Error(message), { code: statusOf(known.grpcStatus), details: message, metadata });
}

/** The table of errors has plain numbers, so that `base` needs no gRPC. */
function statusOf(code: number): Status {
  return Object.values(Status).find((value): value is Status => Number(value) === code) ?? Status.UNKNOWN;
}

/**
 * Turns what a gRPC call failed with into a coded error.
 *
 * Without our metadata it is a failure of the connection. Then `NO_LEADER` says that the request was surely
 * not sent, and `OUTCOME_UNKNOWN` that it may have been carried out: so also when the other side's process
 * ended under the call, which HTTP/2 tells as a cancellation.
 */
export function fromServiceError(error: unknown): TidemarkError {
  if (!isServiceError(error)) return toTidemarkError(error);
  const code = first(error.metadata, CODE_KEY);
  if (isErrorCode(code)) return coded(error, code);
  if (error.code === Status.RESOURCE_EXHAUSTED) {
    return new TidemarkError('MESSAGE_TOO_LARGE', error.details, { cause: error });
  }
  if (error.code === Status.UNIMPLEMENTED) {
    return new TidemarkError('BAD_REQUEST', error.details, { cause: error });
  }
  if (error.code === Status.UNAVAILABLE && TLS_FAILURE.test(error.details)) return tlsRefused(error);
  if (error.code === Status.UNAVAILABLE && error.details.includes('No connection established')) {
    return new TidemarkError('NO_LEADER', 'no connection could be made', { cause: error });
  }
  return new TidemarkError('OUTCOME_UNKNOWN', `the connection failed: ${error.details}`, { cause: error });
}

/** How OpenSSL, Node and {@link PeerCredentials} say that a handshake failed: nothing was sent then. */
const TLS_FAILURE =
  /certificate|altnames|wrong version number|packet length too long|SSL routines|alert number/i;

function tlsRefused(error: ServiceError): TidemarkError {
  const plain = /wrong version number|packet length too long/i.test(error.details);
  return new TidemarkError('TLS_REFUSED', `no connection could be made: ${error.details}`, {
    next: plain
      ? 'The other side speaks without certificates: start it with its own, or leave yours away.'
      : 'Compare both sides: the authority, the host and member in the certificate, and its dates.',
    cause: error,
  });
}

/** Tells whether an error came from a call of grpc-js. */
export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error;
}

function coded(error: ServiceError, code: ErrorCode): TidemarkError {
  const next = first(error.metadata, NEXT_KEY);
  const leader = first(error.metadata, LEADER_KEY);
  return new TidemarkError(code, error.details, {
    ...(next === undefined ? {} : { next: fromHeader(next) }),
    details: {
      ...parseDetails(first(error.metadata, DETAILS_KEY)),
      ...(leader === undefined ? {} : { leader: fromHeader(leader) }),
    },
    cause: error,
  });
}

function first(metadata: Metadata, key: string): string | undefined {
  const value = metadata.get(key)[0];
  return typeof value === 'string' ? value : undefined;
}

/** Details only help a program; ones that cannot be read are left out, the code and the text still stand. */
function parseDetails(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(fromHeader(text));
  } catch (cause) {
    return { details: `not readable: ${String(cause)}` };
  }
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, String(item)]));
}

/** Header values are printable ASCII; the rest is percent-encoded, as gRPC does with its own message. */
function toHeader(text: string): string {
  return text.replace(/[^ -$&-~]+/gu, (part) => encodeURIComponent(part));
}

function fromHeader(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    if (cause instanceof URIError) return text;
    throw cause;
  }
}

function cut(message: string): string {
  if (message.length <= MESSAGE_BYTES_MAX) return message;
  return `${message.slice(0, MESSAGE_BYTES_MAX)} ... (${message.length - MESSAGE_BYTES_MAX} more characters)`;
}
