/** Addresses for servers that a test stops and starts again where they were. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that systems take for outgoing connections and for listeners that ask for any (Linux: 32768
 * on), and below those of `tidemark dev`: while a server is down, nobody else gets its port.
 */
const FIRST_PORT = 10_000;
const PORTS = 10_000;

/** Gives each address out once; two runs at once begin far from each other. */
export function steadyAddresses(): () => Promise<string> {
  let next = process.pid * 997;
  return async () => {
    for (let tries = 0; tries < PORTS; tries++) {
      const port = FIRST_PORT + (next++ % PORTS);
      if (await isFree(port)) return `127.0.0.1:${port}`;
    }
    throw new Error(`no free port from ${FIRST_PORT} on`);
  };
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  const free = await once(server, 'listening').then(
    () => true,
    () => false,
  );
  server.close();
  if (free) await once(server, 'close');
  return free;
}
