import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { afterEach, describe, expect, it } from 'vitest';
import { maskedCrc32c } from '../../src/leveldb/crc32c.ts';
import { readLevelFolder } from '../../src/leveldb/index.ts';
import { Random } from '../statemachine/support/history.ts';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

type Database = Level<Uint8Array, Uint8Array>;

async function opened(folder: string): Promise<Database> {
  const encodings = { keyEncoding: 'view', valueEncoding: 'view', compression: false } as const;
  // A small buffer makes many tables, on several levels.
  const db: Database = new Level(folder, { ...encodings, writeBufferSize: 64 * 1024 });
  await db.open();
  return db;
}

async function write(db: Database, random: Random, batches: number): Promise<void> {
  for (let i = 0; i < batches; i++) {
    const batch = db.batch();
    for (let n = random.below(60); n >= 0; n--) {
      const key = Buffer.from(`k${'x'.repeat(random.below(3))}${random.below(900)}`);
      if (random.below(4) === 0) batch.del(key);
      else batch.put(key, Buffer.alloc(random.below(400), random.below(256)));
    }
    await batch.write();
  }
}

/** What LevelDB itself says. */
async function rowsOf(db: Database): Promise<string[]> {
  const rows = await db.iterator().all();
  return rows.map(([key, value]) => rowText(key, value));
}

const rowText = (key: Uint8Array, value: Uint8Array): string =>
  `${Buffer.from(key).toString()} ${Buffer.from(value).toString('base64')}`;

function rowsRead(folder: string): string[] {
  const rows: string[] = [];
  readLevelFolder(folder, ({ key, keyBytes, file, valueAt, valueEnd }) =>
    rows.push(rowText(key.subarray(0, keyBytes), file.subarray(valueAt, valueEnd))),
  );
  return rows;
}

describe('rows read from the files of a database', () => {
  it.each([1, 2, 3])('are those that LevelDB shows, in its order (seed %i)', async (seed) => {
    const random = new Random(seed);
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-level-'));
    folders.push(folder);
    for (let round = 0; round < 4; round++) {
      const db = await opened(folder);
      await write(db, random, 60);
      const rows = await rowsOf(db);
      await db.close();
      expect(rowsRead(folder)).toEqual(rows);
    }
    const files = await readdir(folder);
    expect(files.filter((name) => name.endsWith('.ldb')).length).toBeGreaterThan(1);
  });

  it('are none where there is no database', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-level-'));
    folders.push(folder);
    expect(readLevelFolder(folder, () => undefined)).toBeUndefined();
    for (const name of ['LOCK', 'MANIFEST-000001', '000001.dbtmp']) await writeFile(join(folder, name), '');
    expect(readLevelFolder(folder, () => undefined)).toBeUndefined();
  });
});

it('a checksum is CRC-32C, masked', () => {
  const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  // RFC 3720, B.4, and the usual check value.
  expect(maskedCrc32c(Buffer.from('123456789'), 0, 9)).toBe(masked(0xe3069283));
  expect(maskedCrc32c(Buffer.alloc(34), 1, 33)).toBe(masked(0x8a9136aa));
});
