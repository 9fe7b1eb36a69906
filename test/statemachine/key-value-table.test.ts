import { describe, expect, it } from 'vitest';
import type { KeyValueRecord } from '../../src/statemachine/index.ts';
import { KeyValueLoader } from '../../src/statemachine/key-values/key-value-loader.ts';
import { KeyValueTable, type KeyValueParts } from '../../src/statemachine/key-values/key-value-table.ts';
import type { RowChange } from '../../src/statemachine/row-codec.ts';
import { hashBytes, HashSum } from '../../src/statemachine/row-hash.ts';
import { Random } from './support/history.ts';

interface Row {
  readonly value: Buffer;
  readonly revision: number;
  readonly version: number;
}

/** Keys of one, two, three and four bytes a character, some the beginning of others. */
const KEYS = Array.from(
  { length: 400 },
  (_, n) => `ns/${['k', 'é', '語', '🙂'][n % 4] ?? ''}${n % 7 === 0 ? '' : n}`,
);
const byBytes = (left: string, right: string): number => Buffer.from(left).compare(Buffer.from(right));

/** What is stored, as a store keeps it: applied change by change. */
class Stored {
  readonly rows = new Map<string, Buffer>();

  take(table: KeyValueTable): void {
    const changes: RowChange[] = [];
    table.takeChanges(changes);
    for (const { fullKey, bytes } of changes) {
      if (bytes === undefined) this.rows.delete(fullKey);
      else this.rows.set(fullKey, Buffer.from(bytes));
    }
  }

  loaded(): KeyValueTable {
    return new KeyValueTable(structuredClone(this.parts()));
  }

  /** What a table is made of, of the stored rows in their order, as at a restart. */
  parts(): KeyValueParts {
    const loader = new KeyValueLoader();
    for (const key of [...this.rows.keys()].sort(byBytes)) {
      const file = this.rows.get(key) ?? Buffer.alloc(0);
      const row = { key: Buffer.from(`+${key}`), keyBytes: 1 + Buffer.byteLength(key) };
      loader.add({ ...row, file, valueAt: 0, valueEnd: file.length }, 1);
    }
    return loader.parts();
  }
}

/** Short, so that large values are compared in no time. */
const textOf = (row: KeyValueRecord | undefined): string =>
  row === undefined ? 'none' : `${row.revision} ${row.version} ${Buffer.from(row.value).toString('latin1')}`;

const texts = (rows: Iterable<KeyValueRecord | undefined>): string => [...rows].map(textOf).join();

function expectSame(table: KeyValueTable, model: ReadonlyMap<string, Row>): void {
  const keys = [...model.keys()].sort(byBytes);
  const of = (list: readonly string[]): string => texts(list.map((key) => model.get(key)));
  expect(texts(table.values()) === of(keys)).toBe(true);
  expect(table.size).toBe(model.size);
  const bytes = keys.reduce(
    (sum, key) => sum + Buffer.byteLength(key) + (model.get(key)?.value.length ?? 0),
    0,
  );
  expect(table.dataBytes).toBe(bytes);
  for (const key of KEYS) {
    expect(textOf(table.get(key)) === textOf(model.get(key)), key).toBe(true);
    expect(table.standing(key)?.revision).toBe(model.get(key)?.revision);
  }
  const prefix = 'ns/語1';
  expect(texts(table.withPrefix(prefix))).toBe(of(keys.filter((key) => key.startsWith(prefix))));
}

describe('the packed table', () => {
  it.each([1, 2, 3, 4])('is what a map would be, also after a restart (seed %i)', (seed) => {
    const random = new Random(seed);
    const model = new Map<string, Row>();
    const stored = new Stored();
    let table = new KeyValueTable();
    for (let step = 0; step < 6_000; step++) {
      const key = random.pick(KEYS) ?? '';
      if (random.below(3) === 0) {
        table.delete(key);
        model.delete(key);
      } else {
        const size = random.below(20) === 0 ? random.below(60_000) : random.below(40);
        const version = (model.get(key)?.version ?? 0) + 1;
        const row = { value: Buffer.alloc(size, random.below(256)), revision: 2 ** 40 + step, version };
        table.put(key, row);
        model.set(key, row);
      }
      if (random.below(50) === 0) stored.take(table);
      if (step % 2_000 !== 1_999) continue;
      expectSame(table, model);
      stored.take(table);
      const again = stored.loaded();
      expect(again.sum.text).toBe(table.sum.text);
      expectSame(again, model);
      table = again;
    }
  });

  it('sees a bit that has flipped in memory', () => {
    const written = new KeyValueTable();
    const stored = new Stored();
    for (let n = 0; n < 20; n++)
      written.put(`ns/${n}`, { value: Buffer.alloc(50, n), revision: n, version: 1 });
    stored.take(written);
    const parts = stored.parts();
    const table = new KeyValueTable(parts);
    const step = { rows: 15, bytes: 100_000 };
    expect([table.checkFrom(0, step), table.checkFrom(15, step)]).toEqual([15, undefined]);
    // Large rows take longer: a step ends after so many bytes as well.
    expect(table.checkFrom(0, { rows: 15, bytes: 300 })).toBe(4);
    const { buffer } = parts.rows.slabs[0] ?? { buffer: new ArrayBuffer(0) };
    const bytes = Buffer.from(buffer);
    const at = bytes.indexOf(Buffer.alloc(50, 7));
    bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at);
    expect(() => table.checkFrom(0, { rows: 20, bytes: 100_000 })).toThrow(/kv\/ns\/7 in memory/);
  });

  it('takes a snapshot, sorted or not, in little more memory than its rows', () => {
    const random = new Random(11);
    const written = new KeyValueTable();
    for (let n = 0; n < 4_000; n++) {
      const value = Buffer.alloc(random.below(2_000), n);
      written.put(`ns/${String(n).padStart(5, '0')}`, { value, revision: n, version: 1 });
    }
    const changes: RowChange[] = [];
    written.takeChanges(changes);
    for (const order of [changes, changes.toReversed(), changes.toSorted(() => random.below(2) - 0.5)]) {
      const table = new KeyValueTable();
      for (const { fullKey, bytes } of order) table.load(fullKey, Uint8Array.from(bytes ?? []));
      expect(texts(table.values()) === texts(written.values())).toBe(true);
      expect(table.sum.text).toBe(written.sum.text);
      expect(table.heldBytes).toBeLessThan(1.02 * (table.dataBytes + table.size * 40) + 512 * 1024);
    }
  });

  it('takes little more memory than its rows, however often they change', () => {
    const random = new Random(9);
    const table = new KeyValueTable();
    const value = Buffer.alloc(1_200, 'v');
    for (let step = 0; step < 100_000; step++) {
      const key = `ns/${random.below(2_000)}`;
      if (random.below(10) === 0) table.delete(key);
      else table.put(key, { value: value.subarray(0, random.below(1_200)), revision: step, version: 1 });
    }
    const rowBytes = table.dataBytes + table.size * 40;
    expect(table.heldBytes).toBeLessThan(2.2 * rowBytes + 512 * 1024);
    table.takeChanges([]);
  });
});

describe('the hash of rows', () => {
  const hashed = (text: string, offset = 0): string => {
    const bytes = Buffer.from('.'.repeat(offset) + text);
    const into = { high: 0, low: 0 };
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    hashBytes(view, { from: offset, to: bytes.length }, 0, into);
    const sum = new HashSum();
    sum.add(into);
    return sum.text;
  };

  it('is the first half of MurmurHash3_x86_128', () => {
    expect(hashed('')).toBe('0'.repeat(16));
    expect(hashed('The quick brown fox jumps over the lazy dog')).toBe('2f1583c3ecee2c67');
    expect(hashed('I will not buy this record, it is scratched.', 3)).toBe('a0a9683b25ac5e40');
  });

  it('differs for each bit of rows of any length', () => {
    const seen = new Set<string>();
    const into = { high: 0, low: 0 };
    for (let length = 1; length <= 40; length++) {
      for (let bit = 0; bit < 8 * length; bit++) {
        const bytes = Buffer.alloc(length);
        bytes.writeUInt8(1 << (bit % 8), Math.floor(bit / 8));
        hashBytes(new DataView(bytes.buffer, bytes.byteOffset), { from: 0, to: length }, 7, into);
        seen.add(`${into.high} ${into.low}`);
      }
    }
    expect(seen.size).toBe((40 * 41 * 8) / 2);
  });

  it('is summed modulo 2^64, in any order, and taken out again', () => {
    const random = new Random(5);
    const sum = new HashSum();
    let model = 0n;
    const added: { high: number; low: number }[] = [];
    for (let i = 0; i < 500; i++) {
      const one = { high: random.below(2 ** 32), low: random.below(2 ** 32) };
      added.push(one);
      sum.add(one);
      model += (BigInt(one.high) << 32n) + BigInt(one.low);
    }
    expect(sum.text).toBe(BigInt.asUintN(64, model).toString(16).padStart(16, '0'));
    for (const one of added.reverse()) sum.take(one);
    expect(sum.text).toBe('0'.repeat(16));
  });
});
