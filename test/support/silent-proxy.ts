import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface SilentProxy {
  readonly port: number;
  /** From now on nothing is passed on, also no end of a connection: what a host without power looks like. */
  fallSilent(): void;
  close(): Promise<void>;
}

/** A TCP proxy on loopback before a server that can be made to look as if its host had lost power. */
export async function silentProxy(
  to: { readonly host: string; readonly port: number },
  listen = 0,
): Promise<SilentProxy> {
  const sockets = new Set<Socket>();
  let silent = false;
  const pass = (from: Socket, into: Socket): void => {
    sockets.add(from);
    from.on('data', (data) => {
      if (!silent) into.write(data);
    });
    const end = (): void => {
      sockets.delete(from);
      if (!silent) into.destroy();
    };
    from.on('close', end);
    from.on('error', end);
  };
  const server = createServer((client) => {
    const upstream = connect(to.port, to.host);
    pass(client, upstream);
    pass(upstream, client);
  });
  await new Promise<void>((resolve) => {
    server.listen(listen, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    fallSilent() {
      silent = true;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The same database URL through the proxy, which listens on port `listen`, or on any. */
export async function silentProxyOf(
  databaseUrl: string,
  listen = 0,
): Promise<SilentProxy & { readonly url: string }> {
  const url = new URL(databaseUrl);
  const proxy = await silentProxy({ host: url.hostname, port: Number(url.port) }, listen);
  url.hostname = '127.0.0.1';
  url.port = String(proxy.port);
  return { ...proxy, url: url.href };
}
