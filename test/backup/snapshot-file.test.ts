import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TidemarkError, isTidemarkError } from '../../src/base/index.ts';
import { armFailpoint, disarmFailpoint } from '../../src/base/test-build-active.ts';
import {
  checkSnapshotFile,
  snapshotBytes,
  snapshotFileChunks,
  writeSnapshotFile,
  type SnapshotHeader,
} from '../../src/backup/index.ts';
import { rule } from '../support/rule.ts';

const HEADER: SnapshotHeader = {
  clusterId: '0123456789abcdef0123456789abcdef',
  index: 42,
  term: 7,
  digest: '00000000000000aa',
  version: '0.1',
  savedMs: 1,
};
const CHUNKS = [Buffer.from('one'), Buffer.alloc(40, 7), Buffer.from('')];

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-backup-'));
});

afterEach(async () => {
  disarmFailpoint('backup.beforeWrite');
  disarmFailpoint('backup.beforeFolderSync');
  await rm(folder, { recursive: true });
});

async function* streamed(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

async function bytesOf(): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of snapshotBytes(HEADER, streamed(CHUNKS))) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, 'snapshot');
  await writeFile(path, bytes);
  return path;
}

const coded = (error: unknown): boolean => isTidemarkError(error, 'SNAPSHOT_INVALID', 'FORMAT_UNKNOWN');

describe('a snapshot file', () => {
  it('gives back what was written, in pieces of any size', async () => {
    const whole = await bytesOf();
    const path = join(folder, 'saved');
    const single = [...whole].map((byte) => Buffer.from([byte]));
    expect(await writeSnapshotFile(path, streamed(single))).toEqual({ header: HEADER, bytes: whole.length });
    expect(await readFile(path)).toEqual(whole);
    const sha256 = whole.subarray(-36, -4).toString('hex');
    expect(await checkSnapshotFile(path)).toEqual({ header: HEADER, bytes: whole.length, sha256 });
    const chunks: Uint8Array[] = [];
    for await (const chunk of snapshotFileChunks(path)) chunks.push(chunk);
    expect(chunks.map((chunk) => Buffer.from(chunk))).toEqual(CHUNKS);
  });

  rule('backup.checksumIgnored', 'with any bit flipped is refused', async () => {
    const whole = await bytesOf();
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
      await expect(checkSnapshotFile(await fileOf(damaged))).rejects.toSatisfy(coded);
    }
  });

  it('that is cut anywhere, or goes on after its end, is refused', async () => {
    const whole = await bytesOf();
    for (let length = 0; length < whole.length; length++) {
      const cut = await fileOf(whole.subarray(0, length));
      await expect(checkSnapshotFile(cut)).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
    }
    for (const more of [Buffer.from([0]), whole, Buffer.alloc(100)]) {
      const longer = await fileOf(Buffer.concat([whole, more]));
      await expect(checkSnapshotFile(longer)).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
    }
  });

  it('without one of its parts, or with one twice, is refused', async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of snapshotBytes(HEADER, streamed(CHUNKS))) pieces.push(piece);
    for (let at = 0; at < pieces.length; at++) {
      const without = await fileOf(Buffer.concat(pieces.filter((_, other) => other !== at)));
      await expect(checkSnapshotFile(without)).rejects.toSatisfy(coded);
      const twice = await fileOf(
        Buffer.concat(pieces.flatMap((one, other) => (other === at ? [one, one] : [one]))),
      );
      await expect(checkSnapshotFile(twice)).rejects.toSatisfy(coded);
    }
  });

  it('of a later format is told apart from something else', async () => {
    const later = await bytesOf();
    later[11] = 9;
    await expect(checkSnapshotFile(await fileOf(later))).rejects.toMatchObject({ code: 'FORMAT_UNKNOWN' });
    const other = checkSnapshotFile(await fileOf(Buffer.from('{"cluster": 1}')));
    await expect(other).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
    await expect(checkSnapshotFile(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  });
});

describe('writing one', () => {
  it('never overwrites a file', async () => {
    const path = await fileOf(Buffer.from('mine'));
    await expect(writeSnapshotFile(path, streamed([]))).rejects.toMatchObject({ code: 'FILE_EXISTS' });
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  it('leaves nothing behind when the disk is full, the source fails, or part is missing', async () => {
    const whole = await bytesOf();
    const path = join(folder, 'saved');
    armFailpoint({ name: 'backup.beforeWrite', action: 'error' });
    await expect(writeSnapshotFile(path, streamed([whole]))).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
    });
    await expect(writeSnapshotFile(path, broken(whole))).rejects.toMatchObject({ code: 'NO_LEADER' });
    const cut = streamed([whole.subarray(0, 90)]);
    await expect(writeSnapshotFile(path, cut)).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
    expect(await readdir(folder)).toEqual([]);
    const away = join(folder, 'no', 'such', 'folder');
    await expect(writeSnapshotFile(away, streamed([whole]))).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
    });
  });
});

describe('naming one', () => {
  it('two that are saved at once: one has the name, the other is told', async () => {
    const whole = await bytesOf();
    const path = join(folder, 'saved');
    const both = await Promise.allSettled([1, 2].map(() => writeSnapshotFile(path, streamed([whole]))));
    const failed = both.flatMap((one) => (one.status === 'rejected' ? [one.reason as TidemarkError] : []));
    expect(failed.map(({ code }) => code)).toEqual(['FILE_EXISTS']);
    expect(await readdir(folder)).toEqual(['saved']);
    expect(await readFile(path)).toEqual(whole);
  });

  it('leaves nothing behind when its folder cannot be synced', async () => {
    armFailpoint({ name: 'backup.beforeFolderSync', action: 'error' });
    const saved = writeSnapshotFile(join(folder, 'saved'), streamed([await bytesOf()]));
    await expect(saved).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    expect(await readdir(folder)).toEqual([]);
  });
});

async function* broken(whole: Uint8Array): AsyncGenerator<Uint8Array> {
  yield whole.subarray(0, 50);
  await Promise.reject(new TidemarkError('NO_LEADER', 'the coordinator has gone'));
}
