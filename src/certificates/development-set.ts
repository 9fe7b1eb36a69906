/**
 * A set of certificates for development and tests: an authority for coordinators among themselves, another
 * for everyone else, and what each of them needs. Members that come later are signed by the same authorities.
 * In production the files come from elsewhere; their names are then given the same way.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXECUTOR_URI, TidemarkError, memberUri } from '../base/index.ts';
import {
  loadAuthority,
  makeAuthority,
  makeCertificate,
  type Authority,
  type Validity,
} from './certificate.ts';

export interface DevelopmentSet {
  readonly folder: string;
  /** One host per coordinator, in the order in which `cluster init` will name them: member 1, 2, 3... */
  readonly hosts: readonly string[];
  /** The id of the first one; above 1 the authorities are those in the folder. @default 1 */
  readonly firstMember?: number;
  readonly days: number;
}

const PEERS = 'peer-ca';
const CLIENTS = 'client-ca';
const DAY_MS = 86_400_000;
/** Clocks of other machines may be behind. */
const BACKDATED_MS = 3_600_000;

/**
 * Writes the set and returns the names of its files, keys readable by their owner alone.
 * @throws TidemarkError `CONFIG_INVALID` when a file is there already (none is replaced), `STORAGE_FAILED`;
 * `FILE_UNREADABLE`, `CERTIFICATE_INVALID` for the authorities of later members.
 */
export async function writeDevelopmentSet(set: DevelopmentSet): Promise<readonly string[]> {
  const now = Date.now();
  const validity: Validity = {
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + set.days * DAY_MS),
  };
  const { folder, hosts, firstMember = 1 } = set;
  const begins = firstMember === 1;
  const peers = begins ? makeAuthority('tidemark development peers', validity) : await loaded(folder, PEERS);
  const clients = begins
    ? makeAuthority('tidemark development clients', validity)
    : await loaded(folder, CLIENTS);
  const files = begins ? [...pair(PEERS, peers), ...pair(CLIENTS, clients)] : [];
  hosts.forEach((host, position) => {
    const member = firstMember + position;
    const name = `member ${member}`;
    const uris = [memberUri(member)];
    files.push(...pair(`peer-${member}`, makeCertificate(peers, { ...validity, name, hosts: [host], uris })));
    const served = makeCertificate(clients, { ...validity, name, hosts: [host], uris: [] });
    files.push(...pair(`coordinator-${member}`, served));
  });
  if (begins) {
    const client = { ...validity, name: 'client', hosts: [], uris: [] };
    const executor = { ...validity, name: 'executor', hosts: [], uris: [EXECUTOR_URI] };
    files.push(...pair('client', makeCertificate(clients, client)));
    files.push(...pair('executor', makeCertificate(clients, executor)));
  }
  await writeAll(folder, files);
  return files.map(({ name }) => name);
}

async function loaded(folder: string, name: string): Promise<Authority> {
  const path = join(folder, name);
  let texts: readonly [string, string];
  try {
    texts = [await readFile(`${path}.pem`, 'utf8'), await readFile(`${path}.key`, 'utf8')];
  } catch (cause) {
    throw new TidemarkError('FILE_UNREADABLE', `no authority in ${folder}: ${String(cause)}`, {
      next: 'Give the folder of the first set with --out.',
      cause,
    });
  }
  try {
    return loadAuthority({ certificate: texts[0], key: texts[1] });
  } catch (cause) {
    throw new TidemarkError('CERTIFICATE_INVALID', `${path}.pem and .key: ${String(cause)}`, { cause });
  }
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
