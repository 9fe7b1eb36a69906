/** Chooses ports on loopback that stay free for a cluster whose processes are killed and started again. */
import { createServer } from 'node:net';
import { TidemarkError } from '../base/index.ts';

/**
 * Below the range from which systems take the near end of outgoing connections (Linux: 32768 on). A port of
 * that range could be taken by anyone's connection while its owner is being restarted.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;
const TRIES_MAX = 200;
/** Two runs that start at once look at different ports: each process begins at a block of its own. */
const BLOCK = 16;

/** @throws TidemarkError `PORT_IN_USE` when hardly any port is free. */
export async function chooseFreePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  const range = LAST_PORT - FIRST_PORT;
  for (let tries = 0; ports.length < count; tries += 1) {
    if (tries > TRIES_MAX) {
      throw new TidemarkError('PORT_IN_USE', `no ${count} free ports from ${FIRST_PORT} to ${LAST_PORT}`);
    }
    const port = FIRST_PORT + ((process.pid * BLOCK + tries) % range);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}
