/**
 * The HTTP face that operators and machines probe: `/livez` (only a restart would help), `/readyz` (can serve
 * now) and `/metrics`. Checks answer at once from memory; a probe never waits for a disk or a peer.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { TidemarkError, formatAddress, toTidemarkError, type Address } from '../base/index.ts';

export interface HealthCheck {
  readonly name: string;
  /** Returns '' if all is well, else what is wrong in a few words. */
  readonly check: () => string;
}

export interface OpsServerOptions {
  readonly listen: Address;
  readonly livez: readonly HealthCheck[];
  readonly readyz: readonly HealthCheck[];
  readonly registry: Registry;
}

export interface OpsServer {
  /** The address that it really listens on: the port differs from the asked one if that was 0. */
  readonly address: Address;
  close(): Promise<void>;
}

/**
 * Starts the server.
 * @throws TidemarkError `PORT_IN_USE`, `CONFIG_INVALID`.
 */
export async function startOpsServer(options: OpsServerOptions): Promise<OpsServer> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (request.method !== 'GET' && request.method !== 'HEAD') send(response, 405, 'only GET\n');
    else if (url.pathname === '/livez') sendHealth(response, options.livez, url.searchParams);
    else if (url.pathname === '/readyz') sendHealth(response, options.readyz, url.searchParams);
    else if (url.pathname === '/metrics') sendMetrics(response, options.registry);
    else send(response, 404, 'known paths: /livez /readyz /metrics\n');
  });
  server.requestTimeout = 10_000;
  server.headersTimeout = 5_000;
  server.maxConnections = 64;
  await listen(server, options.listen);
  const { port } = server.address() as AddressInfo;
  return {
    address: { host: options.listen.host, port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(listenError(error, address, 'http'));
    });
    server.listen(address.port, address.host, resolve);
  });
}

/** Maps the failure to listen on an address; `what` names the option (`peer`, `client`, `http`). */
export function listenError(error: unknown, address: Address, what: string): TidemarkError {
  const text = formatAddress(address);
  const reason = error instanceof Error ? error.message : String(error);
  if (reason.includes('EADDRINUSE')) {
    return new TidemarkError('PORT_IN_USE', `another process listens on ${text} (${what} address)`, {
      next: `Stop it, or choose another address for ${what}.`,
      cause: error,
    });
  }
  return new TidemarkError('CONFIG_INVALID', `cannot listen on ${text} (${what} address): ${reason}`, {
    next: 'Choose an address of this machine and a port that this account may use.',
    cause: error,
  });
}

/** `?verbose` lists passed checks too; `?exclude=name` leaves one out. Failed checks are always listed. */
function sendHealth(response: ServerResponse, checks: readonly HealthCheck[], query: URLSearchParams): void {
  const excluded = new Set(query.getAll('exclude'));
  const results = checks
    .filter(({ name }) => !excluded.has(name))
    .map(({ name, check }) => ({ name, problem: check() }));
  const failed = results.some(({ problem }) => problem !== '');
  const shown = results.filter(({ problem }) => problem !== '' || query.has('verbose'));
  const lines = shown.map(({ name, problem }) =>
    problem === '' ? `[+]${name} ok` : `[-]${name} ${problem}`,
  );
  send(response, failed ? 503 : 200, `${[...lines, failed ? 'failed' : 'ok'].join('\n')}\n`);
}

function sendMetrics(response: ServerResponse, registry: Registry): void {
  registry.metrics().then(
    (text) => {
      response.setHeader('content-type', registry.contentType);
      response.end(text);
    },
    (error: unknown) => {
      send(response, 500, `${toTidemarkError(error).message}\n`);
    },
  );
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}
