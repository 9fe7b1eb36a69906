import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { CertificateFolder } from '../support/certificates.ts';
import { TestCluster } from './cluster-harness.ts';

let certificates: CertificateFolder;
let cluster: TestCluster | undefined;

beforeAll(async () => {
  certificates = await CertificateFolder.make();
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
    const plain = connect({ endpoints: cluster.addresses, deadlineMs: 600 });
    await expect(plain.listExecutors()).rejects.toMatchObject({
      code: 'NO_LEADER',
      next: expect.stringContaining('--client-cert'),
    });
    plain.close();
  });

  test('is not formed with a member that shows the certificate of another', async () => {
    const of = (position: number) =>
      certificates.credentials(position + 1, undefined, position === 2 ? 2 : undefined);
    cluster = await TestCluster.start(3, { of, client: certificates.clientCredentials() });
    await expect(cluster.client().init(cluster.addresses)).rejects.toMatchObject({
      code: 'TLS_REFUSED',
      next: expect.any(String),
    });
    expect(cluster.at(0).status().clusterId).toBe('');
  });
});
