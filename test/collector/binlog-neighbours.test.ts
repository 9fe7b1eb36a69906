/** What else a server does beside changing captured rows: it cuts nothing, or ends the reader with a code. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import type { ChangeReader, ChangeSource, SourceEvent } from '../../src/collector/change-source.ts';
import { inspectSource } from '../../src/collector/index.ts';
import { openChangeSource } from '../../src/collector/open-change-source.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { compile, openFixture, type Fixture } from './fixtures.ts';

describe.skipIf(mariadbMissing())('neighbours of captured tables, MariaDB', () => {
  let fixture: Fixture;
  let changes: ChangeSource;
  let reader: ChangeReader;

  beforeEach(async () => {
    fixture = await openFixture('mysql');
    await fixture.exec(
      `CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)`,
      `CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, p BIGINT, KEY (p))`,
    );
    const source = await compile(fixture, ['item']);
    changes = openChangeSource({
      source,
      engines: { source: fixture.source, sourceAddress: fixture.address },
      clock: systemClock,
    });
    const { position } = await changes.snapshot(() => Promise.resolve(true));
    reader = await changes.read(position);
  });

  afterEach(async () => {
    await changes.close();
    await fixture.close();
  });

  /** The changes up to the row with this id, as weight and id; fails with what ends the reader. */
  const until = async (id: bigint): Promise<string[]> => {
    const found: SourceEvent[] = [];
    await eventually(
      async () => {
        found.push(...(await reader.next(50)));
        return found.some((event) => event.type === 'change' && event.row[0] === id);
      },
      { withinMs: 15_000, everyMs: 0, what: `row ${id}` },
    );
    expect(new Set(found.map(({ type }) => type))).toEqual(new Set(['change', 'commit']));
    return found.flatMap((event) =>
      event.type === 'change' ? [`${event.weight > 0 ? '+' : '-'}${String(event.row[0])}`] : [],
    );
  };

  rule(
    'collector.endsLeftOut',
    'are told of by the end of each transaction, if that is asked for',
    async () => {
      const { position } = await changes.head();
      const ids = Array.from({ length: 50 }, (_, at) => at);
      await fixture.exec(...ids.map((id) => `INSERT INTO parent VALUES (${id})`));
      const { position: end } = await changes.head();
      const all = await changes.read(position, { everyEnd: () => true });
      const found: SourceEvent[] = [];
      await eventually(
        async () => {
          found.push(...(await all.next(50)));
          return found.some((event) => event.type === 'commit' && changes.includes(event.position, end));
        },
        { withinMs: 15_000, everyMs: 0 },
      );
      expect(found.length).toBeGreaterThanOrEqual(ids.length);
    },
  );

  it('are passed over: shadow tables of gh-ost and pt-online-schema-change, and their triggers', async () => {
    await fixture.exec(
      `CREATE TABLE _item_ghc (id INT PRIMARY KEY AUTO_INCREMENT, hint VARCHAR(64))`,
      `CREATE TABLE _item_gho LIKE item`,
      `ALTER TABLE _item_gho ADD COLUMN more INT NOT NULL DEFAULT 1`,
      `INSERT INTO _item_ghc (hint) VALUES ('copy')`,
      `INSERT INTO item (id) VALUES (1)`,
      `INSERT INTO _item_gho (id, p) SELECT id, p FROM item`,
      `CREATE TABLE _item_new LIKE item`,
      `CREATE TRIGGER pt_osc_ins AFTER INSERT ON item FOR EACH ROW
        REPLACE INTO _item_new (id, p) VALUES (NEW.id, NEW.p)`,
      `INSERT INTO item (id) VALUES (2)`,
      `DROP TRIGGER pt_osc_ins`,
      `TRUNCATE TABLE _item_gho`,
      `DROP TABLE IF EXISTS _item_gho, _item_new, _item_ghc`,
      `INSERT INTO item (id) VALUES (3)`,
    );
    expect(await until(3n)).toEqual(['+1', '+2', '+3']);
  });

  it('are passed over: tables of the same name in other schemas, whatever is done to them', async () => {
    const other = await freshDatabase('neighbour');
    const item = `\`${other.name}\`.item`;
    await fixture.exec(
      `CREATE TABLE ${item} (id BIGINT NOT NULL PRIMARY KEY, text VARCHAR(9))`,
      `INSERT INTO ${item} VALUES (7, 'x')`,
      `TRUNCATE TABLE ${item}`,
      `ALTER TABLE ${item} DROP COLUMN text`,
      `INSERT INTO item (id) VALUES (1)`,
      `DROP TABLE ${item}`,
    );
    await other.drop();
    await fixture.exec(`INSERT INTO item (id) VALUES (2)`);
    expect(await until(2n)).toEqual(['+1', '+2']);
  });

  it('are told: rows that a trigger changes, and both sides of a multi-table statement', async () => {
    await fixture.exec(
      `CREATE TRIGGER t AFTER INSERT ON parent FOR EACH ROW INSERT INTO item (id) VALUES (NEW.id + 100)`,
      `INSERT INTO parent VALUES (1), (2)`,
      `DELETE parent, item FROM parent JOIN item ON item.id = parent.id + 100 WHERE parent.id = 1`,
      `INSERT INTO item (id) VALUES (3)`,
    );
    expect(await until(3n)).toEqual(['+101', '+102', '-101', '+3']);
  });

  it('an XA transaction that commits in one phase is a transaction like others', async () => {
    await fixture.exec(
      `XA START 'one'`,
      `INSERT INTO item (id) VALUES (1)`,
      `XA END 'one'`,
      `XA COMMIT 'one' ONE PHASE`,
      `INSERT INTO item (id) VALUES (2)`,
    );
    expect(await until(2n)).toEqual(['+1', '+2']);
  });

  it('a prepared XA transaction over a captured table is SOURCE_UNTELLABLE', async () => {
    await fixture.exec(
      `XA START 'two'`,
      `INSERT INTO item (id) VALUES (1)`,
      `XA END 'two'`,
      `XA PREPARE 'two'`,
      `XA COMMIT 'two'`,
    );
    let end: unknown;
    await eventually(
      async () => {
        end = await reader.next(50).then(
          (events) => (events.some(({ type }) => type === 'change') ? events : undefined),
          (error: unknown) => error,
        );
        return end !== undefined;
      },
      { withinMs: 15_000, everyMs: 0, what: 'the reader ends' },
    );
    expect(end).toMatchObject({ code: 'SOURCE_UNTELLABLE' });
  });

  it.each([
    ['ON DELETE CASCADE', 'ALTER TABLE item ADD FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE'],
    ['ON UPDATE SET NULL', 'ALTER TABLE item ADD FOREIGN KEY (p) REFERENCES parent (id) ON UPDATE SET NULL'],
  ])('a foreign key that begins to change rows stops the reader there: %s', async (_, statement) => {
    await fixture.exec(statement, `INSERT INTO parent VALUES (1)`, `INSERT INTO item VALUES (1, 1)`);
    const found: SourceEvent[] = [];
    await eventually(
      async () => {
        found.push(...(await reader.next(50)));
        return found.some(({ type }) => type === 'definition');
      },
      { withinMs: 15_000, everyMs: 0, what: 'the definition' },
    );
    expect(found.filter(({ type }) => type === 'change')).toEqual([]);
    // Whoever goes on has to look at the table first.
    const inspect = inspectSource(fixture.source, { tables: [{ table: 'item' }] });
    await expect(inspect).rejects.toMatchObject({ code: 'TABLE_CASCADES' });
  });
});
