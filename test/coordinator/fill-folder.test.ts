import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { clusterId, memberId } from '../../src/base/index.ts';
import { fillFolder } from '../../src/coordinator/backups/fill-folder.ts';
import type { Identity } from '../../src/coordinator/members/identity.ts';

const IDENTITY: Identity = {
  clusterId: clusterId('ab'.repeat(16)),
  memberId: memberId(1),
  members: [{ id: memberId(1), peerAddress: 'a:1', clientAddress: 'a:2' }],
  joined: false,
  started: true,
  removed: false,
};
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-fill-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('is empty after a failure, also of the identity, and can be filled then', async () => {
  const filled = fillFolder(folder, async ({ path, logPath }) => {
    await mkdir(logPath);
    // In the way of the identity, whose first name is left over then.
    await mkdir(join(path, 'identity.json', 'in-the-way'), { recursive: true });
    return IDENTITY;
  });
  await expect(filled).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  expect(await readdir(folder)).toEqual(['lock']);
  await fillFolder(folder, () => Promise.resolve(IDENTITY));
  expect((await readdir(folder)).sort()).toEqual(['identity.json', 'lock']);
});
