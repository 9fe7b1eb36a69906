/**
 * The one wrapper around gRPC streams. A grpc-js stream whose 'error' event nobody handles ends the process,
 * and its end shows itself in up to four events: here every stream has a handler from its first moment on,
 * is closed exactly once, and never buffers without a bound.
 */
import { AssertionError, LIMITS, TidemarkError } from '../base/index.ts';
import { fromServiceError, toServiceError } from './service-error.ts';

/** What server and client streams of grpc-js have in common, as far as it is used here. */
interface DuplexLike {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  emit(event: 'error', error: Error): boolean;
  write(message: never): boolean;
  end(): unknown;
  cancel?(): void;
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;
  readonly destroyed: boolean;
}

export interface StreamHandlers<In> {
  onMessage(message: In): void;
  /** Called once. `undefined`: the other side ended it in an orderly way, or this side did. */
  onClosed(error: TidemarkError | undefined): void;
}

export interface GuardedStream<Out> {
  readonly closed: boolean;
  /**
   * Queues a message. On a closed stream it does nothing; a stream that is not drained is ended with
   * `OVERLOADED`.
   */
  write(message: Out): void;
  /** Resolves when the other side has taken what was queued, or the stream is closed. */
  drained(): Promise<void>;
  /** Ends this side's half after what was queued. The handlers hear nothing more. */
  end(): void;
  /** Ends the stream with an error: a server answers with its status, a client cancels the call. */
  fail(error: unknown): void;
}

/** Takes a stream over. Must be called in the turn in which the stream came to be. */
export function guardStream<In, Out>(stream: DuplexLike, handlers: StreamHandlers<In>): GuardedStream<Out> {
  let closed = false;
  let resume: () => void = () => undefined;
  const close = (error: TidemarkError | undefined): void => {
    if (closed) return;
    closed = true;
    resume();
    handlers.onClosed(error);
  };
  const fail = (error: unknown): void => {
    if (closed) return;
    close(fromServiceError(error));
    if (stream.cancel !== undefined) stream.cancel();
    else stream.emit('error', toServiceError(error));
  };
  stream.on('data', (message) => {
    if (closed) return;
    try {
      handlers.onMessage(message as In);
    } catch (error) {
      // A broken invariant of ours is not the other side's fault: it goes to the process's last handler.
      if (error instanceof AssertionError) throw error;
      fail(error);
    }
  });
  stream.on('error', (error) => {
    close(fromServiceError(error));
  });
  stream.on('end', () => {
    close(undefined);
    if (!stream.destroyed) stream.end();
  });
  stream.on('cancelled', () => {
    close(new TidemarkError('CANCELLED', 'the other side dropped the stream'));
  });
  stream.on('close', () => {
    close(undefined);
  });
  stream.on('drain', () => {
    resume();
  });
  return {
    get closed() {
      return closed;
    },
    write(message) {
      if (closed) return;
      if (stream.writableLength >= LIMITS.clientOutstandingMax) {
        const waiting = stream.writableLength;
        fail(new TidemarkError('OVERLOADED', `${waiting} messages wait on a stream that is not read`));
        return;
      }
      stream.write(message as never);
    },
    async drained() {
      if (closed || !stream.writableNeedDrain) return;
      await new Promise<void>((resolve) => {
        resume = resolve;
      });
    },
    end() {
      if (closed) return;
      closed = true;
      stream.end();
    },
    fail,
  };
}
