/**
 * A set of certificates for development and tests: an authority for coordinators among themselves, another
 * for everyone else, and what each of them needs. In production the files come from elsewhere; their names
 * are then given the same way.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TidemarkError, memberUri } from '../base/index.ts';
import { makeAuthority, makeCertificate, type Authority, type Validity } from './certificate.ts';

export interface DevelopmentSet {
  readonly folder: string;
  /** One host per coordinator, in the order in which `cluster init` will name them: member 1, 2, 3... */
  readonly hosts: readonly string[];
  readonly days: number;
}

const DAY_MS = 86_400_000;
/** Clocks of other machines may be behind. */
const BACKDATED_MS = 3_600_000;

/**
 * Writes the set and returns the names of its files, keys readable by their owner alone.
 * @throws TidemarkError `CONFIG_INVALID` when a file is there already (none is replaced), `STORAGE_FAILED`.
 */
export async function writeDevelopmentSet(set: DevelopmentSet): Promise<readonly string[]> {
  const now = Date.now();
  const validity: Validity = {
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + set.days * DAY_MS),
  };
  const peers = makeAuthority('tidemark development peers', validity);
  const clients = makeAuthority('tidemark development clients', validity);
  const files = [...pair('peer-ca', peers), ...pair('client-ca', clients)];
  set.hosts.forEach((host, position) => {
    const member = position + 1;
    const name = `member ${member}`;
    const uris = [memberUri(member)];
    files.push(...pair(`peer-${member}`, makeCertificate(peers, { ...validity, name, hosts: [host], uris })));
    const served = makeCertificate(clients, { ...validity, name, hosts: [host], uris: [] });
    files.push(...pair(`coordinator-${member}`, served));
  });
  files.push(
    ...pair('client', makeCertificate(clients, { ...validity, name: 'client', hosts: [], uris: [] })),
  );
  await writeAll(set.folder, files);
  return files.map(({ name }) => name);
}

interface NewFile {
  readonly name: string;
  readonly text: string;
  readonly mode: number;
}

function pair(name: string, made: Pick<Authority, 'certificate' | 'key'>): readonly NewFile[] {
  return [
    { name: `${name}.pem`, text: made.certificate, mode: 0o644 },
    { name: `${name}.key`, text: made.key, mode: 0o600 },
  ];
}

async function writeAll(folder: string, files: readonly NewFile[]): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    for (const { name, text, mode } of files) await writeFile(join(folder, name), text, { flag: 'wx', mode });
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') {
      throw new TidemarkError('CONFIG_INVALID', `${folder} holds certificates already; none was replaced`, {
        next: 'Give another folder with --out, or remove the old files yourself.',
        cause,
      });
    }
    throw new TidemarkError('STORAGE_FAILED', `cannot write to ${folder}: ${String(cause)}`, { cause });
  }
}
