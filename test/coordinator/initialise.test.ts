import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { must, type TidemarkError } from '../../src/base/index.ts';
import { armFailpoint, disarmFailpoint, onFailpointHit } from '../../src/base/test-build-active.ts';
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
  disarmFailpoint('coordinator.beforeAdmit');
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

/** Admits a coordinator as member 1 of a cluster of its own; returns the code of a refusal. */
async function admit(position: number, over: Partial<AdmitRequest> = {}): Promise<string> {
  const client = new PeerClient(cluster.at(position).peerAddress, insecureCredentials().peer.channel);
  const error = await new Promise<unknown>((resolve) => {
    client.admit({ ...admissionOf(position), ...over }, resolve);
  });
  client.close();
  return error === null ? '' : fromServiceError(error).code;
}

function admissionOf(position: number): AdmitRequest {
  const { peerAddress, clientAddress } = cluster.at(position);
  const clusterId = 'ab'.repeat(16);
  const members = [{ memberId: 1n, peerAddress, clientAddress }];
  return { format: 1, clusterId, memberId: 1n, members, checkOnly: false };
}

describe('an admission', () => {
  test('that is not one is refused and changes nothing', async () => {
    const [member] = admissionOf(0).members;
    const wrong: readonly (readonly [Partial<AdmitRequest>, string])[] = [
      [{ format: 2 }, 'FORMAT_UNKNOWN'],
      [{ clusterId: 'no cluster' }, 'BAD_REQUEST'],
      [{ members: [] }, 'BAD_REQUEST'],
      [{ memberId: 2n ** 60n }, 'BAD_REQUEST'],
      [{ memberId: 2n }, 'MEMBER_MISMATCH'],
      [{ members: [{ ...must(member, 'member'), peerAddress: 'elsewhere:1' }] }, 'MEMBER_MISMATCH'],
    ];
    for (const [over, code] of wrong) expect(await admit(0, over)).toBe(code);
    expect(cluster.at(0).status().clusterId).toBe('');
  });

  test('may be repeated, but not by another cluster', async () => {
    expect(await admit(0, { checkOnly: true })).toBe('');
    expect(cluster.at(0).status().clusterId).toBe('');
    expect(await admit(0)).toBe('');
    expect(await admit(0)).toBe('');
    expect(await admit(0, { clusterId: 'cd'.repeat(16) })).toBe('ALREADY_INITIALIZED');
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

/** The coordinators by peer address: the first one runs every init, and admits the others in this order. */
function inOrder(): readonly [number, number, number] {
  const addressOf = (position: number): string => must(cluster.slots[position], 'slot').peerAddress;
  const [first = 0, second = 1, third = 2] = [0, 1, 2].sort((one, other) =>
    addressOf(one) < addressOf(other) ? -1 : 1,
  );
  return [first, second, third];
}

/** The next init of all in their usual order is held, or fails, before it admits this one. */
function interruptBefore(position: number, action: 'error' | 'pause'): void {
  armFailpoint({ name: 'coordinator.beforeAdmit', action, match: { member: String(position + 1) } });
}

describe('an init that was interrupted', () => {
  rule('coordinator.identityBeforeAdmission', 'is taken up again, and no one votes meanwhile', async () => {
    const [first, second, third] = inOrder();
    interruptBefore(third, 'error');
    const client = cluster.client({ endpoints: [cluster.at(second).clientAddress] });
    await expect(client.init(cluster.addresses)).rejects.toMatchObject({ code: 'INTERNAL' });

    const admitted = cluster.at(second).status();
    expect(admitted.clusterId).toMatch(/^[0-9a-f]{32}$/);
    expect(cluster.at(first).status().clusterId).toBe('');
    // The one that was admitted asks for votes and gets none: the others are no members of anything.
    await eventually(() => cluster.at(second).status().role === 'pre-candidate', { withinMs: 5_000 });
    expect(cluster.at(second).status().term).toBe(0n);

    // Given again to the one that is a member already; whoever was admitted keeps its id.
    const { clusterId, members } = await client.init([...cluster.addresses].reverse());
    expect(clusterId).toBe(admitted.clusterId);
    expect(members.map(({ clientAddress }) => clientAddress)).toEqual(cluster.addresses);
    await cluster.leader();
  });

  rule(
    'coordinator.planOfOtherOrder',
    'before it admitted anyone gives ids as it is given again',
    async () => {
      interruptBefore(inOrder()[1], 'error');
      const client = cluster.client();
      await expect(client.init(cluster.addresses)).rejects.toMatchObject({ code: 'INTERNAL' });
      const reversed = [...cluster.addresses].reverse();
      const { members } = await client.init(reversed);
      expect(members.map(({ clientAddress }) => clientAddress)).toEqual(reversed);
      await cluster.leader();
    },
  );
});

describe('two inits at once', () => {
  test('make one cluster, whatever order they name', async () => {
    const [one, two] = [cluster.addresses, [...cluster.addresses].reverse()];
    const outcomes = await Promise.allSettled(
      [one, two].map((addresses) => cluster.client({ endpoints: addresses.slice(0, 1) }).init(addresses)),
    );
    const failed = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as TidemarkError] : [],
    );
    expect(failed.length).toBeLessThan(2);
    for (const error of failed) {
      expect(['MEMBERSHIP_CHANGE_PENDING', 'ALREADY_INITIALIZED']).toContain(error.code);
    }
    await cluster.leader();
    expect(new Set(cluster.slots.map(({ running }) => running?.status().clusterId)).size).toBe(1);
  });

  rule('coordinator.initNotArbitrated', 'are run by the same coordinator, whoever is asked', async () => {
    const [first, second] = inOrder();
    await whileInitHangs(second, () => {
      const admitted = [first, second].filter((position) => cluster.at(position).status().clusterId !== '');
      expect(admitted).toEqual([second]);
    });
  });

  rule('coordinator.admitsDuringInit', 'and an admission by another are refused at once', async () => {
    const [first] = inOrder();
    await whileInitHangs(first, async () => {
      expect(await admit(first, { clusterId: 'cd'.repeat(16) })).toBe('MEMBERSHIP_CHANGE_PENDING');
      const again = cluster.client({ endpoints: [cluster.at(first).clientAddress] }).init(cluster.addresses);
      await expect(again).rejects.toMatchObject({ code: 'MEMBERSHIP_CHANGE_PENDING' });
    });
  });
});

/** Runs `body` while an init is held before it admits the last one; then the init goes on. */
async function whileInitHangs(asked: number, body: () => Promise<void> | void): Promise<void> {
  const [, , third] = inOrder();
  const held = new Promise<void>((resolve) => {
    const stop = onFailpointHit(({ name }) => {
      if (name !== 'coordinator.beforeAdmit') return;
      stop();
      resolve();
    });
  });
  interruptBefore(third, 'pause');
  const running = cluster.client({ endpoints: [cluster.at(asked).clientAddress] }).init(cluster.addresses);
  let over = false;
  const ended = (): void => {
    over = true;
  };
  running.then(ended, ended);
  try {
    await Promise.race([held, running]);
    await body();
  } finally {
    // It is told of the hit a moment before it is held.
    const release = (): boolean => {
      disarmFailpoint('coordinator.beforeAdmit');
      return over;
    };
    await eventually(release, { withinMs: 5_000, what: 'the end of the init' });
  }
}
