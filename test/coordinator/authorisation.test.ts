import { describe, expect, test } from 'vitest';
import { formatAddress } from '../../src/base/index.ts';
import { ACCESS, authorise, type Authority } from '../../src/coordinator/authorisation.ts';
import { bindServer, createServer } from '../../src/coordinator/grpc-server.ts';
import {
  ClientService,
  ExecutorService,
  KeyValueService,
  PeerClient,
  PeerService,
  fromServiceError,
  insecureCredentials,
} from '../../src/wire/index.ts';
import { rule } from '../support/rule.ts';

const methodsOf = (service: Readonly<Record<string, { readonly path: string }>>): string[] =>
  Object.values(service).map(({ path }) => path);

const PEER = methodsOf(PeerService);
const CLIENT = [ClientService, ExecutorService, KeyValueService].flatMap(methodsOf);

describe('the authorisation table', () => {
  test('has a row for every method of every service, and none besides', () => {
    expect(Object.keys(ACCESS).sort()).toEqual([...PEER, ...CLIENT].sort());
  });

  const refused = (path: string, authority: Authority, isExecutor = false): void => {
    expect(() => {
      authorise(path, authority, isExecutor);
    }).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }));
  };

  test('gives peer methods to the peer port alone, and all others to the client port alone', () => {
    for (const path of PEER) {
      authorise(path, 'peer', false);
      refused(path, 'client');
    }
    for (const path of CLIENT) {
      authorise(path, 'client', false);
      refused(path, 'peer');
    }
  });

  rule('coordinator.executorMayAll', 'gives the certificate of an executor the work of one alone', () => {
    for (const path of methodsOf(ExecutorService)) authorise(path, 'client', true);
    for (const path of [ClientService, KeyValueService].flatMap(methodsOf)) refused(path, 'client', true);
  });

  test('refuses a method without a row, also one that every object has', () => {
    for (const path of ['/tidemark.v1.Client/New', 'constructor', 'toString']) refused(path, 'client');
  });

  test('stands before every handler: a service on the wrong port is never reached', async () => {
    let reached = 0;
    const server = createServer('client');
    server.addService(PeerService, {
      frames: () => (reached += 1),
      admit: () => (reached += 1),
    });
    const credentials = insecureCredentials();
    const bound = await bindServer(server, { host: '127.0.0.1', port: 0 }, 'client', credentials.client);
    const client = new PeerClient(formatAddress(bound.address), credentials.peer.channel);
    const error = await new Promise<unknown>((resolve) => {
      client.admit({ format: 1, clusterId: '', memberId: 1n, members: [], checkOnly: false }, resolve);
    });
    client.close();
    await bound.close(0);
    expect(fromServiceError(error).code).toBe('UNAUTHORIZED');
    expect(reached).toBe(0);
  });
});
