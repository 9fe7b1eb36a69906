/** Development certificates in a folder of their own, as the tests of connections need them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeDevelopmentSet } from '../../src/certificates/index.ts';
import {
  tlsClientCredentials,
  tlsCredentials,
  type CertificatePaths,
  type ClientCredentials,
  type Credentials,
  type TlsOptions,
} from '../../src/wire/index.ts';

const QUIET: TlsOptions = { onProblem: () => undefined, refreshMs: 20 };

export class CertificateFolder {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(
    hosts: readonly string[] = ['127.0.0.1', '127.0.0.1', '127.0.0.1'],
  ): Promise<CertificateFolder> {
    const made = new CertificateFolder(await mkdtemp(join(tmpdir(), 'tidemark-certificates-')));
    await writeDevelopmentSet({ folder: made.folder, hosts, days: 2 });
    return made;
  }

  peer(member: number): CertificatePaths {
    return this.paths('peer-ca', `peer-${member}`);
  }

  coordinator(member: number): CertificatePaths {
    return this.paths('client-ca', `coordinator-${member}`);
  }

  get client(): CertificatePaths {
    return this.paths('client-ca', 'client');
  }

  /** `named` shows the certificate of another member. */
  credentials(member: number, options: TlsOptions = QUIET, named = member): Credentials {
    return tlsCredentials({ peer: this.peer(named), client: this.coordinator(member) }, options);
  }

  clientCredentials(options: TlsOptions = QUIET): ClientCredentials {
    return tlsClientCredentials(this.client, options);
  }

  executorCredentials(): ClientCredentials {
    return tlsClientCredentials(this.paths('client-ca', 'executor'), QUIET);
  }

  paths(ca: string, name: string): CertificatePaths {
    const file = (text: string): string => join(this.folder, text);
    return { ca: file(`${ca}.pem`), cert: file(`${name}.pem`), key: file(`${name}.key`) };
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true });
  }
}
