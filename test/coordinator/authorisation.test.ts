import { describe, expect, test } from 'vitest';
import { ACCESS, authorise } from '../../src/coordinator/authorisation.ts';
import { ClientService, ExecutorService, PeerService } from '../../src/wire/index.ts';

const methodsOf = (service: Readonly<Record<string, { readonly path: string }>>): string[] =>
  Object.values(service).map(({ path }) => path);

const PEER = methodsOf(PeerService);
const CLIENT = [...methodsOf(ClientService), ...methodsOf(ExecutorService)];

describe('the authorisation table', () => {
  test('has a row for every method of every service, and none besides', () => {
    expect(Object.keys(ACCESS).sort()).toEqual([...PEER, ...CLIENT].sort());
  });

  test('gives peer methods to the peer port alone, and all others to the client port alone', () => {
    for (const path of PEER) {
      authorise(path, 'peer');
      expect(() => {
        authorise(path, 'client');
      }).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }) as Error);
    }
    for (const path of CLIENT) {
      authorise(path, 'client');
      expect(() => {
        authorise(path, 'peer');
      }).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }) as Error);
    }
  });

  test('refuses a method without a row, also one that every object has', () => {
    for (const path of ['/tidemark.v1.Client/New', 'constructor', 'toString']) {
      expect(() => {
        authorise(path, 'client');
      }).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }) as Error);
    }
  });
});
