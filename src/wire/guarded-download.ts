/** A stream that only the server writes, read one message after the other. */
import type { ClientReadableStream } from '@grpc/grpc-js';
import { fromServiceError } from './service-error.ts';

/**
 * Takes the stream over. Must be called in the turn in which it came to be. Whoever stops reading cancels it.
 * @throws TidemarkError as {@link fromServiceError} maps it, while it is read.
 */
export function guardDownload<M>(stream: ClientReadableStream<M>): AsyncGenerator<M, void, undefined> {
  // Without a handler of its own an error that comes when nobody reads any more would end the process.
  stream.on('error', () => undefined);
  return read(stream);
}

async function* read<M>(stream: ClientReadableStream<M>): AsyncGenerator<M, void, undefined> {
  try {
    for await (const message of stream) yield message as M;
  } catch (error) {
    throw fromServiceError(error);
  } finally {
    stream.cancel();
  }
}
