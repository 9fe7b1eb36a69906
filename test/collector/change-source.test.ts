/** The contract of ChangeSource, on both engines. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import type { ChangeSource, RowValues, SourceEvent } from '../../src/collector/change-source.ts';
import { openChangeSource } from '../../src/collector/open-change-source.ts';
import type { EngineKind } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { compile, openFixture, rowText, tableRows, type Fixture } from './fixtures.ts';
import type { CompiledSource } from '../../src/job/index.ts';

const TABLES = {
  embedded: [
    `CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(60), price TEXT,
      blob BLOB, at DATETIME)`,
    `CREATE TABLE part (item BIGINT NOT NULL, code VARCHAR(20) NOT NULL, n INTEGER,
      PRIMARY KEY (item, code))`,
    `CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY)`,
  ],
  mysql: [
    `CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(60) CHARACTER SET utf8mb4,
      price DECIMAL(30,10), \`blob\` BLOB, at DATETIME(6))`,
    `CREATE TABLE part (item BIGINT NOT NULL, code VARCHAR(20) CHARACTER SET latin1 NOT NULL, n INT UNSIGNED,
      PRIMARY KEY (item, code))`,
    `CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY)`,
  ],
} as const;

function suite(kind: EngineKind): void {
  let fixture: Fixture;
  let source: CompiledSource;
  const opened: ChangeSource[] = [];

  const open = (): ChangeSource => {
    const engines = { source: fixture.source, sourceAddress: fixture.address };
    const changes = openChangeSource({ source, engines, clock: systemClock });
    opened.push(changes);
    return changes;
  };

  beforeEach(async () => {
    fixture = await openFixture(kind);
    await fixture.exec(...TABLES[kind]);
    source = await compile(fixture, ['item', 'part']);
  });

  afterEach(async () => {
    for (const changes of opened.splice(0)) await changes.close();
    await fixture.close();
  });

  /** Everything from `position` to the log's end as it is now. */
  const readToEnd = async (changes: ChangeSource, position: string): Promise<SourceEvent[]> => {
    const end = await changes.head();
    const reader = await changes.read(position);
    const events: SourceEvent[] = [];
    let reached = position;
    await eventually(
      async () => {
        for (const event of await reader.next(50)) {
          events.push(event);
          if (event.type === 'commit') reached = event.position;
        }
        return changes.includes(reached, end.position);
      },
      { withinMs: 15_000, everyMs: 0, what: `the log up to ${end.position}` },
    );
    await reader.close();
    return events;
  };

  const snapshotRows = async (changes: ChangeSource): Promise<{ position: string; rows: string[] }> => {
    const rows: string[] = [];
    const { position } = await changes.snapshot((table, batch) => {
      for (const row of batch) rows.push(`${table}:${rowText(row)}`);
      return Promise.resolve(true);
    });
    return { position, rows };
  };

  const changesOf = (events: readonly SourceEvent[]): string[] =>
    events.flatMap((event) =>
      event.type === 'change' ? [`${event.weight > 0 ? '+' : '-'}${event.table}:${rowText(event.row)}`] : [],
    );

  it('tells inserts, updates as two images, key changes, deletes and NULLs, in order', async () => {
    const changes = open();
    const { position } = await snapshotRows(changes);
    await fixture.transaction([
      `INSERT INTO item (id, name) VALUES (1, 'a'), (2, NULL)`,
      `INSERT INTO part (item, code, n) VALUES (1, 'x', 4000000000)`,
      `UPDATE item SET name = 'b' WHERE id = 2`,
      `UPDATE item SET id = 3 WHERE id = 2`,
    ]);
    await fixture.transaction([`DELETE FROM item WHERE id = 1`, `DELETE FROM part`]);
    const events = await readToEnd(changes, position);
    expect(changesOf(events)).toEqual([
      `+0:1|'a'|NULL|NULL|NULL`,
      `+0:2|NULL|NULL|NULL|NULL`,
      `+1:1|'x'|4000000000`,
      `-0:2|NULL|NULL|NULL|NULL`,
      `+0:2|'b'|NULL|NULL|NULL`,
      `-0:2|'b'|NULL|NULL|NULL`,
      `+0:3|'b'|NULL|NULL|NULL`,
      `-0:1|'a'|NULL|NULL|NULL`,
      `-1:1|'x'|4000000000`,
    ]);
  });

  it('keeps values exact, the same from the snapshot and from the log', async () => {
    const price = kind === 'mysql' ? '12345678901234567890.0123456789' : `'12345678901234567890.0123456789'`;
    const at = `'2026-02-28 23:59:59.123456'`;
    const rows = [
      `(9223372036854775807, 'Käse 🧀 ''quoted'' \u0001', ${price}, x'00ff10', ${at})`,
      `(-9223372036854775808, '', NULL, x'', '2026-01-01 00:00:00.000000')`,
      `(9007199254740993, '茶', ${kind === 'mysql' ? '-0.5' : `'-0.5'`}, NULL, NULL)`,
    ];
    const changes = open();
    const before = await snapshotRows(changes);
    await fixture.exec(
      `INSERT INTO item (id, name, price, ${fixture.source.dialect.id('blob')}, at)
        VALUES ${rows.join(', ')}`,
    );
    const logged: RowValues[] = [];
    for (const event of await readToEnd(changes, before.position)) {
      if (event.type === 'change') logged.push(event.row);
    }
    const read: RowValues[] = [];
    await open().snapshot((_, batch) => {
      read.push(...batch);
      return Promise.resolve(true);
    });
    const order = (a: RowValues, b: RowValues): number => rowText(a).localeCompare(rowText(b));
    const plain = (all: RowValues[]): unknown[] =>
      all
        .sort(order)
        .map((row) => row.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value)));
    expect(plain(logged)).toEqual(plain(read));
    expect(read.map((row) => row[0])).toContain(9223372036854775807n);
    expect(rowText(read.find((row) => row[0] === 9223372036854775807n) ?? [])).toBe(
      `9223372036854775807|'Käse 🧀 'quoted' \u0001'|'12345678901234567890.0123456789'|x00ff10|` +
        `'2026-02-28 23:59:59.123456'`,
    );
  });

  it('tells nothing of what was rolled back', async () => {
    const changes = open();
    const { position } = await snapshotRows(changes);
    await fixture.transaction([`INSERT INTO item (id) VALUES (1)`], 'rollback');
    await fixture.transaction([`INSERT INTO item (id) VALUES (2)`]);
    expect(changesOf(await readToEnd(changes, position))).toEqual(['+0:2|NULL|NULL|NULL|NULL']);
  });

  it('resumes from every position with exactly the rest', async () => {
    const changes = open();
    const { position } = await snapshotRows(changes);
    const reader = await changes.read(position);
    const events: SourceEvent[] = [];
    for (let id = 1; id <= 6; id += 1) {
      await fixture.transaction([
        `INSERT INTO item (id, name) VALUES (${id}, 'one')`,
        `INSERT INTO part (item, code) VALUES (${id}, 'two')`,
        `UPDATE item SET name = 'three' WHERE id = ${id}`,
      ]);
      const end = await changes.head();
      await eventually(
        async () => {
          events.push(...(await reader.next(50)));
          const last = events.findLast((event) => event.type === 'commit');
          return last !== undefined && changes.includes(last.position, end.position);
        },
        { withinMs: 15_000, everyMs: 0 },
      );
    }
    await reader.close();
    const commits = events.flatMap((event, at) => (event.type === 'commit' ? [{ at, event }] : []));
    expect(commits.length).toBeGreaterThanOrEqual(6);
    for (const { at, event } of commits) {
      const rest = events.slice(at + 1);
      expect(changesOf(await readToEnd(changes, event.position))).toEqual(changesOf(rest));
    }
  });

  it('delivers a large transaction with one end, behind all of its rows', async () => {
    const changes = open();
    const { position } = await snapshotRows(changes);
    const values = Array.from({ length: 7_000 }, (_, id) => `(${id}, 'row ${id}')`).join(', ');
    await fixture.exec(`INSERT INTO item (id, name) VALUES ${values}`);
    const events = await readToEnd(changes, position);
    expect(changesOf(events)).toHaveLength(7_000);
    const first = events.findIndex((event) => event.type === 'change');
    expect(events.slice(first).findIndex((event) => event.type === 'commit')).toBe(7_000);
  });

  it('moves on over what is not captured', async () => {
    const changes = open();
    const { position } = await snapshotRows(changes);
    await fixture.exec(`INSERT INTO other (id) VALUES (1)`, `INSERT INTO other (id) VALUES (2)`);
    expect(changesOf(await readToEnd(changes, position))).toEqual([]);
  });

  it('gives with snapshot and log exactly the tables, while they are being written', async () => {
    let writing = true;
    const write = async (): Promise<void> => {
      for (let n = 0; writing; n += 1) {
        const id = n % 50;
        await fixture.transaction([
          `DELETE FROM part WHERE item = ${id}`,
          `DELETE FROM item WHERE id = ${id}`,
          `INSERT INTO item (id, name) VALUES (${id}, 'n${n}')`,
          `INSERT INTO part (item, code, n) VALUES (${id}, 'a', ${n}), (${id}, 'b', ${n})`,
          `UPDATE item SET name = 'm${n}' WHERE id = ${(id * 7) % 50}`,
        ]);
      }
    };
    const changes = open();
    // An embedded source tells its changes from its first snapshot on.
    await snapshotRows(changes);
    const before = await changes.head();
    const writer = write();
    const net = new Map<string, number>();
    const add = (key: string, weight: number): void => {
      net.set(key, (net.get(key) ?? 0) + weight);
      if (net.get(key) === 0) net.delete(key);
    };
    await eventually(async () => (await changes.head()).position !== before.position, { withinMs: 15_000 });
    const { position, rows } = await snapshotRows(changes);
    for (const row of rows) add(row, 1);
    const later = await changes.head();
    await eventually(async () => (await changes.head()).position !== later.position, { withinMs: 15_000 });
    writing = false;
    await writer;
    for (const event of await readToEnd(changes, position)) {
      if (event.type === 'change') add(`${event.table}:${rowText(event.row)}`, event.weight);
    }
    const expected = new Map<string, number>();
    for (const [at, { table }] of source.tables.entries()) {
      for (const key of (await tableRows(fixture, source, table)).keys()) expected.set(`${at}:${key}`, 1);
    }
    expect(net).toEqual(expected);
  });

  it('reads a large table whole and once', async () => {
    const values = (from: number): string =>
      Array.from(
        { length: 2_500 },
        (_, n) => `(${Math.floor((from + n) / 3)}, 'k${n % 3}-${from + n}', ${n})`,
      ).join(', ');
    await fixture.exec(`INSERT INTO part (item, code, n) VALUES ${values(0)}`);
    await fixture.exec(`INSERT INTO part (item, code, n) VALUES ${values(2_500)}`);
    const { rows } = await snapshotRows(open());
    expect(new Set(rows).size).toBe(5_000);
    expect(rows).toHaveLength(5_000);
  });

  it('orders positions', async () => {
    const changes = open();
    const { position } = await snapshotRows(changes);
    await fixture.exec(`INSERT INTO item (id) VALUES (1)`);
    const { position: later } = await changes.head();
    expect([changes.includes(position, later), changes.includes(later, position)]).toEqual([false, true]);
    expect(changes.includes(later, later)).toBe(true);
  });

  it('ends what waits when it is closed', async () => {
    const changes = open();
    const { position } = await snapshotRows(changes);
    const reader = await changes.read(position);
    const waiting = reader.next(60_000);
    waiting.catch(() => undefined);
    await changes.close();
    await expect(waiting).rejects.toThrow();
  });
}

describe('change source, embedded', () => {
  suite('embedded');
});

describe.skipIf(mariadbMissing())('change source, MariaDB', () => {
  suite('mysql');
});
