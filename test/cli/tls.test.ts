import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  clientCredentialsOf,
  coordinatorCredentialsOf,
  type CoordinatorTlsValues,
} from '../../src/cli/tls.ts';
import { CertificateFolder } from '../support/certificates.ts';

const NONE: CoordinatorTlsValues = {
  clientCa: undefined,
  clientCert: undefined,
  clientKey: undefined,
  peerCa: undefined,
  peerCert: undefined,
  peerKey: undefined,
};
const options = { onProblem: () => undefined };

let folder: CertificateFolder;
beforeAll(async () => {
  folder = await CertificateFolder.make();
});
afterAll(() => folder.remove());

function client(): Partial<CoordinatorTlsValues> {
  const { ca, cert, key } = folder.client;
  return { clientCa: ca, clientCert: cert, clientKey: key };
}

function peer(): Partial<CoordinatorTlsValues> {
  const { ca, cert, key } = folder.peer(1);
  return { peerCa: ca, peerCert: cert, peerKey: key };
}

describe('the flags about certificates', () => {
  it('make plain connections when none is given, and others when all are', () => {
    expect(clientCredentialsOf(NONE, options).kind).toBe('insecure');
    expect(coordinatorCredentialsOf(NONE, options).kind).toBe('insecure');
    expect(clientCredentialsOf({ ...NONE, ...client() }, options).kind).toBe('tls');
    expect(coordinatorCredentialsOf({ ...NONE, ...client(), ...peer() }, options).kind).toBe('tls');
  });

  it.each([
    [
      'one of three',
      () => clientCredentialsOf({ ...NONE, clientCa: folder.client.ca }, options),
      '--client-key',
    ],
    ['clients alone', () => coordinatorCredentialsOf({ ...NONE, ...client() }, options), '--peer-ca'],
    ['peers alone', () => coordinatorCredentialsOf({ ...NONE, ...peer() }, options), '--client-ca'],
  ])('are refused for %s, with what is missing', (_what, make, named) => {
    expect(make).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', next: expect.stringContaining(named) }) as Error,
    );
  });
});
