import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { gtidIncludes } from '../../src/collector/binlog/gtid-position.ts';
import { SnapshotProgress, chunkStands } from '../../src/collector/snapshot/snapshot-progress.ts';
import type { CapturedTable } from '../../src/job/index.ts';
import { rule } from '../support/rule.ts';

const table = (name: string, type = 'BIGINT'): CapturedTable => ({
  table: name,
  schemaVersion: 1,
  columns: [
    { name: 'v', type: 'BIGINT', nullable: false },
    { name: 'a', type, nullable: false },
    { name: 'b', type: 'BIGINT', nullable: false },
  ],
  primaryKey: ['a', 'b'],
  shardKey: 'a',
});

type Row = readonly [bigint, bigint, bigint];
interface Image {
  readonly table: number;
  readonly weight: 1 | -1;
  readonly row: Row;
}

const TABLES = [table('one'), table('two')];
const KEYS = 12;

const textOf = (at: number, row: Row): string => `${at}:${row.join(' ')}`;
const keyText = (at: number, [, a, b]: Row): string => `${at}:${a} ${b}`;
const rowOf = (key: number, value: number): Row => [BigInt(value), BigInt(key % 3), BigInt(key)];

/** A source: its rows by table and key, and what it has logged, transaction by transaction. */
class ModelSource {
  readonly rows = new Map<string, { readonly at: number; readonly row: Row }>();
  readonly log: Image[][] = [];

  /** Writes a row, moves it to another key, or deletes it, in one transaction. */
  write(at: number, key: number, to: number, value: number): void {
    const images: Image[] = [];
    for (const one of new Set([key, to])) {
      const name = keyText(at, rowOf(one, 0));
      const found = this.rows.get(name);
      if (found !== undefined) images.push({ table: at, weight: -1, row: found.row });
      this.rows.delete(name);
    }
    if (value > 0) {
      const row = rowOf(to, value);
      images.push({ table: at, weight: 1, row });
      this.rows.set(keyText(at, row), { at, row });
    }
    this.log.push(images);
  }

  /** The rows behind a place, in the order of tables and keys. */
  behind({ table: from, after }: SnapshotProgress['place']): { readonly at: number; readonly row: Row }[] {
    const order = ({ at, row: [, a, b] }: { at: number; row: Row }): number =>
      at * 10_000 + Number(a) * 100 + Number(b);
    const [a = -1n, b = 0n] = (after ?? []) as bigint[];
    const place = from * 10_000 + (after === undefined ? -1 : Number(a) * 100 + Number(b));
    return [...this.rows.values()]
      .filter((one) => order(one) > place)
      .sort((one, other) => order(one) - order(other));
  }
}

/** What a collector knows, as far as chunks go; `sealed` is what a successor begins with. */
class ModelCollector {
  readonly #source: ModelSource;
  net = new Map<string, number>();
  read = 0;
  progress = new SnapshotProgress(TABLES, undefined);
  #sealed: { net: Map<string, number>; read: number; cursor: string } | undefined;

  constructor(source: ModelSource) {
    this.#source = source;
  }

  /** Reads one transaction of the log. Nothing is read before the first chunk: the log begins there. */
  turn(): void {
    const images = this.#source.log[this.read];
    if (images === undefined || this.#sealed === undefined) return;
    this.read += 1;
    for (const { table: at, weight, row } of images) {
      if (this.progress.finished || this.progress.holds(at, row)) this.#add(at, row, weight);
    }
  }

  /** Reads a chunk as of now; `meanwhile` is written before the log is read as far. */
  chunk(rows: number, meanwhile: () => void): void {
    if (this.progress.finished) return;
    const position = this.#source.log.length;
    const behind = this.#source.behind(this.progress.place);
    meanwhile();
    if (this.#sealed === undefined) this.read = position;
    const ahead = (): boolean =>
      chunkStands((one, other) => Number(one) >= Number(other), String(this.read), String(position)) ===
      'ahead';
    while (ahead()) this.turn();
    const part = behind.slice(0, rows);
    for (const { at, row } of part) {
      this.progress.copied(at, [row]);
      this.#add(at, row, 1);
    }
    if (part.length === behind.length) this.progress.finish();
    this.seal();
  }

  seal(): void {
    this.#sealed = { net: new Map(this.net), read: this.read, cursor: this.progress.cursor };
  }

  takeover(): void {
    this.progress = new SnapshotProgress(TABLES, this.#sealed?.cursor);
    this.net = new Map(this.#sealed?.net);
    this.read = this.#sealed?.read ?? 0;
  }

  #add(at: number, row: Row, weight: number): void {
    const text = textOf(at, row);
    const sum = (this.net.get(text) ?? 0) + weight;
    if (sum === 0) this.net.delete(text);
    else this.net.set(text, sum);
  }
}

const write = fc.record({
  do: fc.constant('write' as const),
  at: fc.nat(1),
  key: fc.nat(KEYS),
  to: fc.nat(KEYS),
  value: fc.nat(5),
});
const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: write },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('chunk' as const),
        rows: fc.integer({ min: 1, max: 4 }),
        late: write,
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('seal' as const, 'takeover' as const) }) },
  ),
  { minLength: 20, maxLength: 80 },
);

/** Any order of changes, key changes, chunks, seals and takeovers ends with the sum being the tables. */
function interleave(): void {
  fc.assert(
    fc.property(steps, (order) => {
      const source = new ModelSource();
      const collector = new ModelCollector(source);
      const apply = ({
        at,
        key,
        to,
        value,
      }: {
        at: number;
        key: number;
        to: number;
        value: number;
      }): void => {
        source.write(at, key, to, value);
      };
      for (const step of order) {
        if (step.do === 'write') apply(step);
        else if (step.do === 'chunk') {
          collector.chunk(step.rows, () => {
            apply(step.late);
          });
        } else collector[step.do]();
      }
      while (!collector.progress.finished) collector.chunk(3, () => undefined);
      while (collector.read < source.log.length) collector.turn();
      const rows = [...source.rows.values()].map(({ at, row }) => [textOf(at, row), 1] as const);
      expect(new Map([...collector.net].sort())).toEqual(new Map(rows.sort()));
    }),
    { numRuns: 1_000, seed: 11 },
  );
}

describe('a snapshot in chunks', () => {
  rule('collector.imagesBeyondCursor', 'counts images of rows that are copied, and no others', interleave);
  rule('collector.chunkBeforeItsPosition', 'enters where the log has come to its position', interleave);

  rule('collector.olderChunkTaken', 'is not taken when the log was read further than it shows', () => {
    const stands = (read: string, chunk: string): string =>
      chunkStands((one, other) => gtidIncludes('mariadb', one, other), read, chunk);
    expect(stands('0-1-5', '0-1-5')).toBe('here');
    expect(stands('0-1-5', '0-1-7')).toBe('ahead');
    expect(stands('0-1-5', '0-1-4')).toBe('older');
    expect(stands('0-1-5,1-1-3', '0-1-7,1-1-2')).toBe('older');
  });

  rule('collector.textKeysOrdered', 'rests within a table only if the order of its key is known here', () => {
    const progress = new SnapshotProgress([table('text', 'TEXT(10)'), table('one')], undefined);
    progress.copied(0, [[1n, 'x', 2n]]);
    expect([progress.mayRest, progress.cursor]).toEqual([false, '{"table":"text","key":[]}']);
    progress.copied(1, [[1n, 2n, 9007199254740993n]]);
    expect(progress.mayRest).toBe(true);
    const next = new SnapshotProgress([table('text', 'TEXT(10)'), table('one')], progress.cursor);
    expect(next.holds(0, [1n, 'z', 0n])).toBe(true);
    expect(next.holds(1, [1n, 2n, 9007199254740993n])).toBe(true);
    expect(next.holds(1, [1n, 2n, 9007199254740994n])).toBe(false);
    expect(() => new SnapshotProgress([table('one')], '{"table":"gone","key":[]}')).toThrow('no such table');
  });
});
