/** What is peculiar to the embedded change log: triggers, REPLACE, trimming. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import type { ChangeSource } from '../../src/collector/change-source.ts';
import { installEmbeddedCapture, openChangeSource } from '../../src/collector/index.ts';
import type { CompiledSource } from '../../src/job/index.ts';
import { eventually } from '../support/eventually.ts';
import { compile, openFixture, rowText, type Fixture } from './fixtures.ts';

describe('embedded change log', () => {
  let fixture: Fixture;
  let source: CompiledSource;
  let changes: ChangeSource;

  beforeEach(async () => {
    fixture = await openFixture('embedded');
    await fixture.exec(`CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, name TEXT)`);
    source = await compile(fixture, ['item']);
    await installEmbeddedCapture(fixture.source, source.tables);
    changes = openChangeSource({
      source,
      engines: { source: fixture.source, sourceAddress: fixture.address },
      clock: systemClock,
    });
  });

  afterEach(async () => {
    await changes.close();
    await fixture.close();
  });

  const changesAfter = async (position: string): Promise<string[]> => {
    const { position: end } = await changes.head();
    const reader = await changes.read(position);
    const texts: string[] = [];
    await eventually(
      async () => {
        let done = position === end;
        for (const event of await reader.next(50)) {
          if (event.type === 'change') texts.push(`${event.weight > 0 ? '+' : '-'}${rowText(event.row)}`);
          else done = event.position === end;
        }
        return done;
      },
      { withinMs: 15_000, everyMs: 0 },
    );
    await reader.close();
    return texts;
  };

  it('counts the row that REPLACE removes, and nothing for an upsert or an ignored insert', async () => {
    await fixture.exec(
      `INSERT INTO item VALUES (1, 'a')`,
      `REPLACE INTO item VALUES (1, 'b'), (2, 'c')`,
      `INSERT OR IGNORE INTO item VALUES (1, 'never')`,
      `INSERT INTO item VALUES (3, 'd')`,
      `INSERT INTO item VALUES (1, 'e') ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
      `INSERT OR REPLACE INTO item SELECT id, name || '!' FROM item`,
    );
    expect(await changesAfter('0')).toEqual([
      ...[`+1|'a'`, `-1|'a'`, `+1|'b'`, `+2|'c'`, `+3|'d'`, `-1|'b'`, `+1|'e'`],
      ...[`-1|'e'`, `+1|'e!'`, `-2|'c'`, `+2|'c!'`, `-3|'d'`, `+3|'d!'`],
    ]);
  });

  it('lets no UPDATE OR REPLACE remove the row whose key it takes', async () => {
    await fixture.exec(`INSERT INTO item VALUES (1, 'a'), (2, 'b')`);
    const taking = fixture.exec(`UPDATE OR REPLACE item SET id = 2 WHERE id = 1`);
    await expect(taking).rejects.toThrow('another row has this key');
    await fixture.exec(
      `UPDATE OR REPLACE item SET name = 'c' WHERE id = 2`,
      `UPDATE item SET id = 3 WHERE id = 1`,
    );
    expect(await changesAfter('0')).toEqual([
      ...[`+1|'a'`, `+2|'b'`, `-2|'b'`, `+2|'c'`, `-1|'a'`, `+3|'a'`],
    ]);
  });

  it('ends with SCHEMA_CHANGED when a captured table gets a second UNIQUE index', async () => {
    const reader = await changes.read('0');
    await reader.next(0);
    await fixture.exec(`CREATE UNIQUE INDEX by_name ON item (name)`);
    await expect(reader.next(5_000)).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' });
    await expect(changes.read('0')).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' });
  });

  it('keeps the rest when the log is trimmed, and says so when more is gone than was read', async () => {
    await fixture.exec(`INSERT INTO item VALUES (1, 'a')`);
    const { position } = await changes.head();
    await fixture.exec(`INSERT INTO item VALUES (2, 'b')`);
    await changes.discard(position);
    expect(await changesAfter(position)).toEqual([`+2|'b'`]);
    const reader = await changes.read('0');
    await expect(reader.next(1_000)).rejects.toMatchObject({ code: 'BINLOG_PURGED' });
    await changes.discard((await changes.head()).position);
    await expect((await changes.read(position)).next(1_000)).rejects.toMatchObject({ code: 'BINLOG_PURGED' });
    await expect((await changes.read('99')).next(1_000)).rejects.toMatchObject({ code: 'BINLOG_PURGED' });
  });

  it('installs once and widens the log for a later table', async () => {
    const triggers = async (): Promise<unknown> =>
      fixture.source.use('test', async (connection) => {
        const { rows } = await connection.query(`SELECT rootpage, sql FROM sqlite_master ORDER BY name`);
        return rows;
      });
    const before = await triggers();
    await installEmbeddedCapture(fixture.source, source.tables);
    expect(await triggers()).toEqual(before);
    await fixture.exec(`CREATE TABLE wide (id BIGINT NOT NULL PRIMARY KEY, a TEXT, b TEXT, c TEXT, d TEXT)`);
    source = await compile(fixture, ['item', 'wide']);
    await installEmbeddedCapture(fixture.source, source.tables);
    changes = openChangeSource({
      source,
      engines: { source: fixture.source, sourceAddress: fixture.address },
      clock: systemClock,
    });
    await fixture.exec(`INSERT INTO wide VALUES (1, 'a', 'b', 'c', 'd')`);
    expect(await changesAfter('0')).toEqual([`+1|'a'|'b'|'c'|'d'`]);
  });

  it('ends with SCHEMA_CHANGED when a captured table is dropped under a reader', async () => {
    const reader = await changes.read('0');
    await reader.next(0);
    await fixture.exec(`DROP TABLE item`);
    await expect(reader.next(5_000)).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' });
    await expect(changes.read('0')).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' });
  });

  it('ends with VALUE_RANGE for a value that is not of its column type', async () => {
    await fixture.exec(`INSERT INTO item VALUES (1, x'00')`);
    await expect((await changes.read('0')).next(1_000)).rejects.toMatchObject({ code: 'VALUE_RANGE' });
  });
});
