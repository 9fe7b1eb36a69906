import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clusterId, memberId } from '../../src/base/index.ts';
import { checkOwner, openDataFolder } from '../../src/coordinator/members/data-folder.ts';
import {
  IDENTITY_FILE,
  readIdentity,
  writeIdentity,
  type Identity,
} from '../../src/coordinator/members/identity.ts';
import { rule } from '../support/rule.ts';

let folder: string;

const member = (id: number): Identity['members'][number] => ({
  id: memberId(id),
  peerAddress: `10.0.0.${id}:7401`,
  clientAddress: `10.0.0.${id}:7400`,
});

const IDENTITY: Identity = {
  clusterId: clusterId('00112233445566778899aabbccddeeff'),
  memberId: memberId(2),
  members: [member(1), member(2), member(3)],
  joined: false,
  started: false,
  removed: false,
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-identity-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

describe('the identity file', () => {
  test('is read back as it was written', async () => {
    await writeIdentity(folder, IDENTITY);
    expect(await readIdentity(folder)).toEqual(IDENTITY);
  });

  test('that is not there is no identity', async () => {
    expect(await readIdentity(folder)).toBeUndefined();
  });

  test('cut off at any length is DATA_CORRUPT', async () => {
    await writeIdentity(folder, IDENTITY);
    const path = join(folder, IDENTITY_FILE);
    const { length } = await readFile(path);
    for (let bytes = length - 2; bytes >= 0; bytes -= 7) {
      await truncate(path, bytes);
      await expect(readIdentity(folder)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    }
  });

  test('with a changed member id is DATA_CORRUPT, though it is good JSON', async () => {
    await writeIdentity(folder, IDENTITY);
    const path = join(folder, IDENTITY_FILE);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('"memberId": 2', '"memberId": 3'));
    await expect(readIdentity(folder)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
  });

  test('of another format version is FORMAT_UNKNOWN', async () => {
    await writeIdentity(folder, IDENTITY);
    const path = join(folder, IDENTITY_FILE);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('"format": 2', '"format": 3'));
    await expect(readIdentity(folder)).rejects.toMatchObject({ code: 'FORMAT_UNKNOWN' });
  });
});

describe('the data folder', () => {
  test('is locked: a second opening is DATA_IN_USE until the first is closed', async () => {
    const first = await openDataFolder(folder);
    await expect(openDataFolder(folder)).rejects.toMatchObject({ code: 'DATA_IN_USE' });
    await first.close();
    const second = await openDataFolder(folder);
    await second.close();
  });

  test('with a log but without an identity is DATA_CORRUPT: a fresh node could vote twice', async () => {
    const first = await openDataFolder(folder);
    await writeFile(first.logPath, 'entries');
    await first.close();
    await expect(openDataFolder(folder)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    // The refusal has let the lock go.
    await rm(first.logPath);
    const second = await openDataFolder(folder);
    await second.close();
  });

  test('of another member is DATA_OF_OTHER_CLUSTER and names both', () => {
    const own = { peerAddress: '10.0.0.2:7401', clientAddress: '10.0.0.2:7400' };
    checkOwner(folder, IDENTITY, own);
    expect(() => {
      checkOwner(folder, IDENTITY, { ...own, peerAddress: '10.0.0.9:7401' });
    }).toThrow(expect.objectContaining({ code: 'DATA_OF_OTHER_CLUSTER' }) as Error);
  });

  rule('coordinator.removedMemberStarts', 'of a member that was removed is MEMBER_REMOVED', () => {
    const own = { peerAddress: '10.0.0.2:7401', clientAddress: '10.0.0.2:7400' };
    expect(() => {
      checkOwner(folder, { ...IDENTITY, removed: true }, own);
    }).toThrow(expect.objectContaining({ code: 'MEMBER_REMOVED' }) as Error);
  });

  test('that cannot be made is STORAGE_FAILED', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(openDataFolder(join(folder, 'file'))).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  });
});
