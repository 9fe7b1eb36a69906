import { X509Certificate } from 'node:crypto';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { makeAuthority, makeCertificate, writeDevelopmentSet } from '../../src/certificates/index.ts';
import { CertificateFolder } from '../support/certificates.ts';

const folders: CertificateFolder[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove();
});

async function made(hosts?: readonly string[]): Promise<CertificateFolder> {
  const folder = await CertificateFolder.make(hosts);
  folders.push(folder);
  return folder;
}

const validity = { notBefore: new Date('2026-01-02T03:04:05Z'), notAfter: new Date('2051-06-07T08:09:10Z') };

describe('certificates of members that come later', () => {
  it('are signed by the authorities of the first set, and name the ids', async () => {
    const { folder } = await made(['127.0.0.1']);
    const names = await writeDevelopmentSet({
      folder,
      hosts: ['a.example', 'b.example'],
      days: 2,
      firstMember: 4,
    });
    expect(names.filter((name) => name.endsWith('.pem'))).toEqual([
      'peer-4.pem',
      'coordinator-4.pem',
      'peer-5.pem',
      'coordinator-5.pem',
    ]);
    const read = async (name: string): Promise<X509Certificate> =>
      new X509Certificate(await readFile(join(folder, name)));
    const [authority, fifth] = [await read('peer-ca.pem'), await read('peer-5.pem')];
    expect([fifth.checkIssued(authority), fifth.verify(authority.publicKey)]).toEqual([true, true]);
    expect(fifth.subjectAltName).toContain('URI:tidemark:member:5');
  });

  it('need a first set', async () => {
    const { folder } = await made(['127.0.0.1']);
    const later = { folder: join(folder, 'nothing'), hosts: ['a.example'], days: 2, firstMember: 2 };
    await expect(writeDevelopmentSet(later)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  });
});

describe('a certificate', () => {
  const authority = makeAuthority('the authority', validity);
  const subject = {
    ...validity,
    name: 'Größe',
    hosts: ['db.example', '10.0.0.7', 'fe80::1:2'],
    uris: ['a:b:1'],
  };
  const made = makeCertificate(authority, subject);
  const certificate = new X509Certificate(made.certificate);
  const issuer = new X509Certificate(authority.certificate);

  it('is signed by its authority and by no other', () => {
    expect(certificate.checkIssued(issuer)).toBe(true);
    expect(certificate.verify(issuer.publicKey)).toBe(true);
    const other = makeAuthority('the authority', validity);
    expect(certificate.verify(new X509Certificate(other.certificate).publicKey)).toBe(false);
  });

  it('names its subject, its hosts and addresses, and nothing besides', () => {
    expect(certificate.subject).toBe('CN=Größe');
    expect(certificate.checkHost('db.example')).toBe('db.example');
    expect(certificate.checkHost('other.example')).toBeUndefined();
    expect(certificate.checkIP('10.0.0.7')).toBe('10.0.0.7');
    expect(certificate.checkIP('fe80::1:2')).toBe('fe80::1:2');
    expect(certificate.checkIP('10.0.0.8')).toBeUndefined();
    expect(certificate.subjectAltName).toContain('URI:a:b:1');
  });

  it('says from when to when it is valid, also beyond 2050', () => {
    expect(new Date(certificate.validFrom)).toEqual(validity.notBefore);
    expect(new Date(certificate.validTo)).toEqual(validity.notAfter);
  });

  it('is no authority itself', () => {
    expect([issuer.ca, certificate.ca]).toEqual([true, false]);
  });
});

describe('a development set', () => {
  it('has two for a coordinator, one for clients, one for executors; only the owner reads keys', async () => {
    const { folder } = await made(['a.example', 'b.example']);
    const coordinators = ['coordinator-1', 'coordinator-2', 'peer-1', 'peer-2'];
    const names = ['client', 'client-ca', 'executor', 'peer-ca', ...coordinators];
    expect((await readdir(folder)).sort()).toEqual(
      names.flatMap((name) => [`${name}.key`, `${name}.pem`]).sort(),
    );
    expect((await stat(join(folder, 'peer-2.key'))).mode & 0o777).toBe(0o600);
    const peer = new X509Certificate(await readFile(join(folder, 'peer-2.pem')));
    expect(peer.checkHost('b.example')).toBe('b.example');
    expect(peer.subjectAltName).toContain('URI:tidemark:member:2');
  });

  it('never replaces a file', async () => {
    const { folder } = await made();
    const before = await readFile(join(folder, 'peer-ca.key'));
    const again = writeDevelopmentSet({ folder, hosts: ['127.0.0.1'], days: 1 });
    await expect(again).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await readFile(join(folder, 'peer-ca.key'))).toEqual(before);
  });
});
