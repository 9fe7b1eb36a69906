/**
 * A gRPC server on one address of one authority: limits, authorisation and coded errors for all its methods.
 */
import { lookup } from 'node:dns/promises';
import {
  Server,
  logVerbosity,
  setLogVerbosity,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { TidemarkError, formatAddress, type Address } from '../base/index.ts';
import { listenError } from '../ops/index.ts';
import { CHANNEL_OPTIONS, toServiceError, type LinkCredentials } from '../wire/index.ts';
import { authorisation, type Authority } from './authorisation.ts';
import { codedOrThrow } from './coded-error.ts';

export interface BoundServer {
  /** As asked, with the port that the system chose if that was 0. */
  readonly address: Address;
  /** Refuses new calls, gives running ones `graceMs`, then cuts them. */
  close(graceMs: number): Promise<void>;
}

/** Makes a server without services; add them before {@link bindServer}. */
export function createServer(authority: Authority): Server {
  // grpc-js also writes failures to stderr by itself; each reaches us as an error and goes to our own log.
  setLogVerbosity(logVerbosity.NONE);
  return new Server({ ...CHANNEL_OPTIONS, interceptors: [authorisation(authority)] });
}

/**
 * Binds the server. A name is resolved first and its first address bound: grpc-js would bind several and
 * call it a success when one of them worked.
 * @throws TidemarkError `PORT_IN_USE`, `CONFIG_INVALID`.
 */
export async function bindServer(
  server: Server,
  listen: Address,
  what: Authority,
  credentials: LinkCredentials,
): Promise<BoundServer> {
  const host = await resolveHost(listen, what);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(formatAddress({ host, port: listen.port }), credentials.server, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(listenError(error, listen, what));
    });
  });
  return {
    address: { host: listen.host, port },
    close: (graceMs) => closeServer(server, graceMs),
  };
}

async function resolveHost(listen: Address, what: string): Promise<string> {
  try {
    return (await lookup(listen.host === '*' ? '0.0.0.0' : listen.host)).address;
  } catch (error) {
    throw listenError(error, listen, what);
  }
}

function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Makes a unary handler of an async function: what it throws is answered as a coded error. */
export function unary<Request, Reply>(
  handle: (request: Request, call: ServerUnaryCall<Request, Reply>) => Promise<Reply> | Reply,
): (call: ServerUnaryCall<Request, Reply>, callback: sendUnaryData<Reply>) => void {
  return (call, callback) => {
    void answer(() => handle(call.request, call), callback);
  };
}

async function answer<Reply>(
  handle: () => Promise<Reply> | Reply,
  callback: sendUnaryData<Reply>,
): Promise<void> {
  let reply: Reply;
  try {
    reply = await handle();
  } catch (error) {
    callback(toServiceError(codedOrThrow(error)));
    return;
  }
  callback(null, reply);
}

/** Checks the format version that a request names. */
export function checkFormat(found: number, expected: number, what: string): void {
  if (found === expected) return;
  throw new TidemarkError(
    'FORMAT_UNKNOWN',
    `${what} has format ${found}; this program speaks format ${expected}`,
    {
      next: 'Use the same version of Tidemark on both sides.',
    },
  );
}
