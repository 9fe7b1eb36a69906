import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isTidemarkError } from '../../src/base/index.ts';
import {
  KINDS,
  openChunk,
  rowBytesOf,
  rowsIn,
  sealEnd,
  sealHead,
  sealRows,
} from '../../src/statemachine/snapshot-chunk.ts';
import { CLUSTER } from './support/folder.ts';

const ROWS = [
  { fullKey: 'kv/ns/語🙂', bytes: Buffer.alloc(70_000, 7) },
  { fullKey: 'session/1', bytes: Buffer.of(1, 2, 3) },
  { fullKey: 'kv/', bytes: Buffer.alloc(0) },
];
const sealedRows = (): Uint8Array =>
  sealRows(
    5,
    ROWS,
    ROWS.reduce((sum, row) => sum + rowBytesOf(row), 0),
  );

/** Changes bytes after the checksum and makes that fit again. */
function forged(chunk: Uint8Array, change: (body: Buffer) => void): Uint8Array {
  const body = Buffer.from(chunk.subarray(32));
  change(body);
  return Buffer.concat([hash('sha256', body, 'buffer'), body]);
}

const codeOf = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (isTidemarkError(error)) return error.code;
    throw error;
  }
  return 'none';
};

const rowsOf = (chunk: Uint8Array): readonly unknown[] => {
  const opened = openChunk(chunk);
  if (opened.kind !== KINDS.rows) throw new Error('no rows');
  return rowsIn(opened.body).map(({ fullKey, bytes }) => ({ fullKey, bytes: Buffer.from(bytes) }));
};

describe('a chunk of a snapshot', () => {
  it('holds what was put into it', () => {
    const head = {
      clusterId: CLUSTER,
      appliedIndex: 2 ** 40,
      appliedTerm: 3,
      digest: 'f'.repeat(16),
      previousIndex: 4,
    };
    expect(openChunk(sealHead(0, head))).toEqual({ kind: KINDS.head, part: 0, head });
    expect(openChunk(sealEnd(9, 2 ** 40))).toEqual({ kind: KINDS.end, part: 9, rows: 2 ** 40 });
    expect(openChunk(sealedRows()).part).toBe(5);
    expect(rowsOf(sealedRows())).toEqual(ROWS);
  });

  it('is refused with any byte changed or cut off, and of another version', () => {
    const chunk = sealEnd(9, 12);
    for (let at = 0; at < chunk.length; at++) {
      const flipped = Uint8Array.from(chunk);
      flipped[at] = (flipped[at] ?? 0) ^ 4;
      expect([codeOf(() => openChunk(flipped)), codeOf(() => openChunk(chunk.subarray(0, at)))]).toEqual([
        'DATA_CORRUPT',
        'DATA_CORRUPT',
      ]);
    }
    const later = forged(chunk, (body) => body.writeUInt8((body[0] ?? 0) + 1, 0));
    expect(codeOf(() => openChunk(later))).toBe('FORMAT_UNKNOWN');
  });

  it('whose rows go beyond its end is refused, also if its checksum fits', () => {
    const lengths = [38 - 32, 38 - 32 + 2];
    for (const at of lengths) {
      const wrong = forged(sealedRows(), (body) => body.writeUInt16BE(0xffff, at));
      expect(codeOf(() => rowsOf(wrong))).toBe('DATA_CORRUPT');
    }
    const kind = forged(sealedRows(), (body) => body.writeUInt8(9, 1));
    expect(codeOf(() => openChunk(kind))).toBe('DATA_CORRUPT');
  });
});
