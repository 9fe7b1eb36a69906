import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { must } from '../../src/base/index.ts';
import { armFailpoint } from '../../src/base/test-build-active.ts';
import { connect } from '../../src/client/index.ts';
import { CertificateFolder } from '../support/certificates.ts';
import { rule } from '../support/rule.ts';
import { TestCluster } from './cluster-harness.ts';

let certificates: CertificateFolder;
let cluster: TestCluster | undefined;

beforeAll(async () => {
  certificates = await CertificateFolder.make(['127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.1']);
});
afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});
afterAll(() => certificates.remove());

describe('a cluster with certificates', () => {
  test('forms, and answers clients that show theirs; plain ones are told what to give', async () => {
    const client = certificates.clientCredentials();
    cluster = await TestCluster.formed(3, {
      of: (position) => certificates.credentials(position + 1),
      client,
    });
    expect(await cluster.client().listExecutors()).toEqual([]);
    const { addresses: endpoints } = cluster;
    const executor = connect({ endpoints, credentials: certificates.executorCredentials() });
    await expect(executor.listExecutors()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(executor.kv.put('a', 'x')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    executor.close();
    const plain = connect({ endpoints: cluster.addresses, deadlineMs: 600 });
    await expect(plain.listExecutors()).rejects.toMatchObject({
      code: 'NO_LEADER',
      next: expect.stringContaining('--client-cert'),
    });
    plain.close();
  });

  test('takes a new member whose certificate names the id that it gets, and nobody else', async () => {
    let shown = 3;
    cluster = await TestCluster.formedWithSpare(3, {
      of: (position) => certificates.credentials(position + 1, undefined, position === 3 ? shown : undefined),
      client: certificates.clientCredentials(),
    });
    const client = cluster.client({ endpoints: cluster.addresses.slice(0, 3) });
    await expect(client.membership.add(cluster.advertised(3))).rejects.toMatchObject({
      code: 'MEMBER_UNREACHABLE',
      next: expect.stringContaining('certificate'),
    });
    expect((await client.members()).members).toHaveLength(3);
    await cluster.stopOne(3);
    shown = 4;
    await cluster.startOne(3);
    expect(await client.membership.add(cluster.advertised(3))).toMatchObject({ memberId: 4n });
    expect(await client.transferLeader(4)).toBe(4n);
  });

  /** Starts three of which one shows another's certificate, and gives an init; returns its outcome's code. */
  async function initWithWrong(choose: (inOrder: readonly number[]) => number): Promise<string> {
    let wrong = -1;
    const of = (position: number) => {
      return certificates.credentials(position + 1, undefined, position === wrong ? 4 : undefined);
    };
    const made = await TestCluster.start(3, { of, client: certificates.clientCredentials() });
    cluster = made;
    const peerAddress = (position: number): string => made.advertised(position).peerAddress;
    const inOrder = [0, 1, 2].sort((one, other) => (peerAddress(one) < peerAddress(other) ? -1 : 1));
    wrong = choose(inOrder);
    await made.stopOne(wrong);
    await made.startOne(wrong);
    const error = await made
      .client()
      .init(made.addresses)
      .catch((reason: unknown) => reason);
    expect(inOrder.filter((position) => made.at(position).status().clusterId !== '')).toEqual([]);
    return (error as { readonly code: string }).code;
  }

  rule(
    'coordinator.admitsUnchecked',
    'is not formed, nor begun, with a member that shows the certificate of another',
    async () => {
      expect(await initWithWrong((inOrder) => must(inOrder[2], 'last'))).toBe('TLS_REFUSED');
    },
  );

  test('forms when the endpoints were named in another order than the certificates before', async () => {
    const credentials = { of: (position: number) => certificates.credentials(position + 1) };
    cluster = await TestCluster.start(3, { ...credentials, client: certificates.clientCredentials() });
    const client = cluster.client();
    await expect(client.init([...cluster.addresses].reverse())).rejects.toMatchObject({
      code: expect.stringMatching(/TLS_REFUSED|UNAUTHORIZED/),
      next: expect.stringContaining('in the order of the member ids'),
    });
    expect((await client.init(cluster.addresses)).members).toHaveLength(3);
    await cluster.leader();
  });

  test('finishes an interrupted add under the next id, which the certificate must name', async () => {
    let shown = 2;
    cluster = await TestCluster.formedWithSpare(1, {
      of: (position) => certificates.credentials(position + 1, undefined, position === 1 ? shown : undefined),
      client: certificates.clientCredentials(),
    });
    const client = cluster.client({ endpoints: cluster.addresses.slice(0, 1) });
    const add = () => client.membership.add(must(cluster, 'cluster').advertised(1), { learner: true });
    armFailpoint({ name: 'coordinator.beforeJoin', action: 'error' });
    await expect(add()).rejects.toMatchObject({
      message: expect.stringContaining('member 2 is a learner now'),
      next: expect.stringContaining('id 3'),
    });
    await expect(add()).rejects.toMatchObject({
      code: 'MEMBER_UNREACHABLE',
      next: expect.stringContaining('so that it gets id 3'),
    });
    await cluster.stopOne(1);
    shown = 3;
    await cluster.startOne(1);
    expect(await add()).toMatchObject({ memberId: 3n });
  });

  rule(
    'coordinator.admitsForAnyone',
    'is not formed by one that shows the certificate of another',
    async () => {
      expect(await initWithWrong((inOrder) => must(inOrder[0], 'first'))).toBe('UNAUTHORIZED');
    },
  );
});
