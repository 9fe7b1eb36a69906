import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { must } from '../../src/base/index.ts';
import { connect } from '../../src/client/index.ts';
import {
  PeerClient,
  fromServiceError,
  insecureCredentials,
  type AdmitRequest,
} from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { TestCluster } from './cluster-harness.ts';

let cluster: TestCluster;

beforeEach(async () => {
  cluster = await TestCluster.start(3);
});

afterEach(async () => {
  await cluster.stop();
});

describe('cluster init is refused, and changes nothing,', () => {
  const refusals: readonly {
    readonly name: string;
    readonly of: (addresses: readonly string[]) => string[];
  }[] = [
    { name: 'for an even number of coordinators', of: (all) => all.slice(0, 2) },
    { name: 'when one is named twice', of: ([a, b]) => [a, b, b].map((address) => address ?? '') },
    { name: 'when the one asked is not among them', of: (all) => all.slice(1, 2) },
  ];
  test.each(refusals)('$name', async ({ of }) => {
    await expect(cluster.client().init(of(cluster.addresses))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    for (const { running } of cluster.slots) expect(running?.status().clusterId).toBe('');
  });

  test('when one of them does not answer', async () => {
    await cluster.stopOne(2);
    await expect(cluster.client().init(cluster.addresses)).rejects.toMatchObject({ code: 'NO_LEADER' });
    expect(cluster.at(1).status().clusterId).toBe('');
  });

  test('when it was done before, whoever is asked', async () => {
    await cluster.client().init(cluster.addresses);
    for (const address of cluster.addresses) {
      const client = cluster.client({ endpoints: [address] });
      await expect(client.init(cluster.addresses)).rejects.toMatchObject({ code: 'ALREADY_INITIALIZED' });
    }
  });
});

describe('an admission', () => {
  const admit = async (request: AdmitRequest): Promise<string> => {
    const client = new PeerClient(cluster.at(0).peerAddress, insecureCredentials().peer.channel);
    const error = await new Promise<unknown>((resolve) => {
      client.admit(request, resolve);
    });
    client.close();
    return error === null ? '' : fromServiceError(error).code;
  };
  const valid = (): AdmitRequest => {
    const { peerAddress, clientAddress } = cluster.at(0);
    return {
      format: 1,
      clusterId: 'ab'.repeat(16),
      memberId: 1n,
      members: [{ memberId: 1n, peerAddress, clientAddress }],
    };
  };

  test('that is not one is refused and changes nothing', async () => {
    const [member] = valid().members;
    const wrong: readonly (readonly [Partial<AdmitRequest>, string])[] = [
      [{ format: 2 }, 'FORMAT_UNKNOWN'],
      [{ clusterId: 'no cluster' }, 'BAD_REQUEST'],
      [{ members: [] }, 'BAD_REQUEST'],
      [{ memberId: 2n ** 60n }, 'BAD_REQUEST'],
      [{ memberId: 2n }, 'MEMBER_MISMATCH'],
      [{ members: [{ ...must(member, 'member'), peerAddress: 'elsewhere:1' }] }, 'MEMBER_MISMATCH'],
    ];
    for (const [over, code] of wrong) expect(await admit({ ...valid(), ...over })).toBe(code);
    expect(cluster.at(0).status().clusterId).toBe('');
  });

  test('may be repeated, but not by another cluster', async () => {
    expect(await admit(valid())).toBe('');
    expect(await admit(valid())).toBe('');
    expect(await admit({ ...valid(), clusterId: 'cd'.repeat(16) })).toBe('ALREADY_INITIALIZED');
    expect(cluster.at(0).status().clusterId).toBe('ab'.repeat(16));
  });
});

describe('before init', () => {
  test('every call but status is NOT_INITIALIZED', async () => {
    await expect(cluster.client().listSources()).rejects.toMatchObject({ code: 'NOT_INITIALIZED' });
    const [first] = await cluster.client().status();
    expect(first).toMatchObject({ status: { role: 'uninitialized', clusterId: '' } });
  });
});

describe('an init that was interrupted', () => {
  rule('coordinator.identityBeforeAdmission', 'is taken up again, and no one votes meanwhile', async () => {
    // The third coordinator says it is reached where nobody listens yet: it cannot be admitted.
    const { port, free } = await reservePort();
    await cluster.stopOne(2);
    const third = must(cluster.slots[2], 'third');
    third.peerAddress = `127.0.0.1:${port}`;
    const half = await cluster.startOne(2, { peerListen: '127.0.0.1:0', peerAdvertise: third.peerAddress });
    expect(half.peerAddress).toBe(third.peerAddress);
    await expect(cluster.client().init(cluster.addresses)).rejects.toMatchObject({ code: 'NO_LEADER' });

    const admitted = cluster.at(1).status();
    expect(admitted.clusterId).toMatch(/^[0-9a-f]{32}$/);
    expect(cluster.at(0).status().clusterId).toBe('');
    // The one that was admitted asks for votes and gets none: the others are no members of anything.
    await eventually(() => cluster.at(1).status().role === 'pre-candidate', { withinMs: 5_000 });
    expect(cluster.at(1).status().term).toBe(0n);

    await cluster.stopOne(2);
    await free();
    await cluster.startOne(2);
    const client = connect({ endpoints: [must(cluster.addresses[0], 'first')] });
    const { clusterId } = await client.init(cluster.addresses);
    client.close();
    expect(clusterId).toBe(admitted.clusterId);
    await cluster.leader();
  });
});

async function reservePort(): Promise<{ readonly port: number; readonly free: () => Promise<void> }> {
  const server: Server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    free: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
      }),
  };
}
