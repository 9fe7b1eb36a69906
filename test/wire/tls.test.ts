import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { ChannelCredentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isTidemarkError, must, type TidemarkError } from '../../src/base/index.ts';
import { makeAuthority, makeCertificate } from '../../src/certificates/index.ts';
import {
  PeerClient,
  PeerService,
  fromServiceError,
  insecureCredentials,
  tlsClientCredentials,
  toServiceError,
  type Credentials,
  type PeerServer,
} from '../../src/wire/index.ts';
import { CertificateFiles } from '../../src/wire/certificate-files.ts';
import { CertificateFolder } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';

let ours: CertificateFolder;
let foreign: CertificateFolder;
const cleanups: (() => void)[] = [];

beforeAll(async () => {
  ours = await CertificateFolder.make();
  foreign = await CertificateFolder.make();
});
afterAll(async () => {
  await ours.remove();
  await foreign.remove();
});
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A server that answers a call if it came from member 2; returns its address. */
async function serve(server: ServerCredentials, check?: Credentials['peer']['checkCaller']): Promise<string> {
  const grpc = new Server();
  const service: PeerServer = {
    frames: (_call, callback) => {
      callback(null, {});
    },
    digests: (_call, callback) => {
      callback(null, { format: 1, digests: [] });
    },
    join: (_call, callback) => {
      callback(null, { format: 1 });
    },
    admit: (call, callback) => {
      try {
        check?.(call, 2);
        callback(null, { format: 1 });
      } catch (error) {
        callback(toServiceError(error));
      }
    },
  };
  grpc.addService(PeerService, service);
  cleanups.push(() => {
    grpc.forceShutdown();
  });
  const port = await new Promise<number>((resolve, reject) => {
    grpc.bindAsync('127.0.0.1:0', server, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return `127.0.0.1:${port}`;
}

function dial(address: string, channel: ChannelCredentials): PeerClient {
  const client = new PeerClient(address, channel);
  cleanups.push(() => {
    client.close();
  });
  return client;
}

/** The code of what came back; `ok` if it was answered. */
function ask(client: PeerClient): Promise<string> {
  return new Promise((resolve) => {
    client.admit({ format: 1, clusterId: '', memberId: 1n, members: [], checkOnly: false }, (error) => {
      resolve(error === null ? 'ok' : fromServiceError(error).code);
    });
  });
}

async function connected(server: ServerCredentials, channel: ChannelCredentials): Promise<string> {
  return ask(dial(await serve(server), channel));
}

describe('connections with certificates', () => {
  it('of one authority are made, and tell which member calls', async () => {
    const one = ours.credentials(1);
    const address = await serve(one.peer.server, one.peer.checkCaller);
    expect(await ask(dial(address, ours.credentials(2).peer.channelTo(1)))).toBe('ok');
    expect(await ask(dial(address, ours.credentials(3).peer.channelTo(1)))).toBe('UNAUTHORIZED');
    expect(await connected(one.client.server, ours.clientCredentials().client.channel)).toBe('ok');
  });

  it('to another member than the one meant are refused', async () => {
    const [one, two] = [ours.credentials(1), ours.credentials(2)];
    expect(await connected(one.peer.server, two.peer.channelTo(3))).toBe('TLS_REFUSED');
  });

  it('to a host that the certificate does not name are refused', async () => {
    const elsewhere = await CertificateFolder.make(['elsewhere.example']);
    const server = elsewhere.credentials(1).peer.server;
    const channel = elsewhere.credentials(1).peer.channelTo(1);
    await elsewhere.remove();
    expect(await connected(server, channel)).toBe('TLS_REFUSED');
  });

  it.each([
    [
      'a client of another authority',
      () => [ours.credentials(1).client, foreign.clientCredentials().client] as const,
    ],
    ['a member of another authority', () => [ours.credentials(1).peer, foreign.credentials(2).peer] as const],
    [
      'a client at the port of the peers',
      () => [ours.credentials(1).peer, ours.clientCredentials().client] as const,
    ],
    [
      'a member at the port of the clients',
      () => [ours.credentials(1).client, ours.credentials(2).peer] as const,
    ],
    [
      'certificates against none',
      () => [insecureCredentials().client, ours.clientCredentials().client] as const,
    ],
  ])('refuse %s', async (_what, sides) => {
    const [server, dialling] = sides();
    expect(await connected(server.server, dialling.channel)).toBe('TLS_REFUSED');
  });

  it('are not made without a certificate', async () => {
    const { client, peer } = ours.credentials(1);
    const plain = insecureCredentials().client.channel;
    expect(await connected(client.server, plain)).not.toBe('ok');
    const anonymous = ChannelCredentials.createSsl(await readFile(ours.peer(1).ca));
    expect(await connected(peer.server, anonymous)).not.toBe('ok');
  });

  it('are not made with one that is over, on either side', async () => {
    const [past, passed] = [new Date('2020-01-01'), new Date('2020-02-01')];
    const authority = makeAuthority('ca', { notBefore: past, notAfter: new Date(Date.now() + 1e9) });
    const pair = (notAfter: Date): readonly [Buffer, Buffer] => {
      const subject = { name: 'x', hosts: ['127.0.0.1'], uris: [], notBefore: past, notAfter };
      const { certificate, key } = makeCertificate(authority, subject);
      return [Buffer.from(key), Buffer.from(certificate)];
    };
    const ca = Buffer.from(authority.certificate);
    const serving = ([key, cert]: readonly [Buffer, Buffer]): ServerCredentials =>
      ServerCredentials.createSsl(ca, [{ private_key: key, cert_chain: cert }], true);
    const [good, over] = [pair(new Date(Date.now() + 1e9)), pair(passed)];
    expect(await connected(serving(good), ChannelCredentials.createSsl(ca, ...good))).toBe('ok');
    expect(await connected(serving(over), ChannelCredentials.createSsl(ca, ...good))).toBe('TLS_REFUSED');
    expect(await connected(serving(good), ChannelCredentials.createSsl(ca, ...over))).not.toBe('ok');
  });
});

describe('files that cannot be used', () => {
  it.each([
    [
      'a missing file',
      'FILE_UNREADABLE',
      (paths: typeof ours.client) => ({ ...paths, cert: `${paths.cert}.gone` }),
    ],
    [
      'the key of another',
      'CERTIFICATE_INVALID',
      (paths: typeof ours.client) => ({ ...paths, key: ours.peer(1).key }),
    ],
    [
      'a key for a certificate',
      'CERTIFICATE_INVALID',
      (paths: typeof ours.client) => ({ ...paths, cert: paths.key }),
    ],
    [
      'a certificate for a key',
      'CERTIFICATE_INVALID',
      (paths: typeof ours.client) => ({ ...paths, key: paths.cert }),
    ],
  ])('%s: %s', (_what, code, change) => {
    const make = (): unknown => tlsClientCredentials(change(ours.client), { onProblem: () => undefined });
    expect(make).toThrow(expect.objectContaining({ code, next: expect.any(String) }) as Error);
  });
});

describe('renewed files', () => {
  rule('wire.complaintRepeated', 'that cannot be used are complained about once', async () => {
    const live = await CertificateFolder.make();
    const problems: string[] = [];
    const { cert, key, ca } = live.client;
    const looks = { count: 0 };
    const paths = {
      cert,
      key,
      get ca() {
        looks.count += 1;
        return ca;
      },
    };
    const onProblem = ({ code }: TidemarkError): unknown => problems.push(code);
    const files = new CertificateFiles({ paths, onProblem, refreshMs: 10 });
    const listener = (): undefined => undefined;
    files.addCaCertificateListener(listener);
    try {
      await copyFile(foreign.client.key, key);
      await eventually(() => problems.length > 0, { withinMs: 5_000, what: 'a complaint' });
      const until = looks.count + 20;
      await eventually(() => looks.count > until, { withinMs: 5_000, what: 'further looks' });
      expect(problems).toEqual(['CERTIFICATE_INVALID']);
    } finally {
      files.removeCaCertificateListener(listener);
      await live.remove();
    }
  });

  it('are used by new connections, the open ones go on; a half-written pair changes nothing', async () => {
    const live = await CertificateFolder.make();
    const problems: TidemarkError[] = [];
    const options = { onProblem: (error: TidemarkError) => problems.push(error), refreshMs: 10 };
    const address = await serve(live.credentials(1, options).client.server);
    const before = dial(address, live.clientCredentials().client.channel);
    expect(await ask(before)).toBe('ok');

    await copyFile(foreign.coordinator(1).key, live.coordinator(1).key);
    await eventually(() => problems.length > 0, { withinMs: 5_000, what: 'a complaint about the pair' });
    expect(isTidemarkError(must(problems[0], 'a problem'), 'CERTIFICATE_INVALID')).toBe(true);
    expect(await ask(before)).toBe('ok');

    await copyFile(foreign.coordinator(1).cert, live.coordinator(1).cert);
    await writeFile(live.coordinator(1).ca, await readFile(foreign.coordinator(1).ca));
    const renewed = foreign.clientCredentials();
    await eventually(async () => (await ask(dial(address, renewed.client.channel))) === 'ok', {
      withinMs: 5_000,
      what: 'a connection with the renewed certificates',
    });
    expect(await ask(before)).toBe('ok');
    await live.remove();
  });
});
