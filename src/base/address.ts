/** Network addresses as text: `host:port`, `name:port`, `[v6]:port`. */
import { TidemarkError } from './tidemark-error.ts';

export interface Address {
  /** Without brackets. */
  readonly host: string;
  /** 0 to 65535; 0 asks the system for a free port when listening. */
  readonly port: number;
}

/**
 * Reads an address.
 * @throws TidemarkError `CONFIG_INVALID` naming `what`.
 */
export function parseAddress(text: string, what: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]/\s]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new TidemarkError('CONFIG_INVALID', `${what}: ${JSON.stringify(text)} is not an address`, {
      next: 'Write host:port, name:port or [ipv6]:port.',
    });
  }
  return { host, port };
}

export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Tells whether a host stands for all interfaces: it can be listened on but not dialled. */
export function isWildcardHost(host: string): boolean {
  return host === '0.0.0.0' || host === '::' || host === '*';
}
