/**
 * Makes an embedded database tell its changes: triggers copy every row image into one log table, in the
 * transaction that changes the row. The log's value columns have no type, so that SQLite keeps each value
 * exactly as it is, and its sequence has no gaps, so that a missing row shows.
 */
import { LIMITS, assert } from '../../base/index.ts';
import type { CapturedTable } from '../../job/index.ts';
import type { Dialect, SqlConnection, SqlEngine } from '../../sql/index.ts';

export const CAPTURE_LOG = 'tm_capture_log';

/** The weight of a row that held the key of a row about to be inserted; see {@link triggers}. */
export const WEIGHT_TAKEN = 0;

/** The log's column for the value at `at`. */
export const logColumn = (at: number): string => `c${at}`;

/**
 * Makes the log and the triggers of `tables` unless they are there; triggers of an older shape are replaced.
 * Changes made before are not in the log: take the snapshot afterwards.
 * @throws TidemarkError `TABLE_MISSING`, `DB_*`.
 */
export async function installEmbeddedCapture(
  engine: SqlEngine,
  tables: readonly CapturedTable[],
): Promise<void> {
  await engine.use('capture', async (connection) => {
    if (await isCaptureInstalled(connection, engine.dialect, tables)) return;
    await connection.begin('write');
    await makeLog(connection, Math.max(...tables.map((table) => table.columns.length)));
    for (const table of tables) {
      for (const trigger of triggers(engine.dialect, table)) {
        await connection.query(`DROP TRIGGER IF EXISTS ${engine.dialect.id(trigger.name)}`);
        await connection.query(trigger.sql);
      }
    }
    await connection.commit();
  });
}

/** Whether every captured table still has exactly the triggers that {@link installEmbeddedCapture} makes. */
export async function isCaptureInstalled(
  connection: SqlConnection,
  dialect: Dialect,
  tables: readonly CapturedTable[],
): Promise<boolean> {
  const { rows } = await connection.query(`SELECT name, sql FROM sqlite_master WHERE type = 'trigger'`);
  const found = new Map(rows.map(([name, sql]) => [name, sql]));
  return tables.every((table) =>
    triggers(dialect, table).every((trigger) => found.get(trigger.name) === trigger.sql),
  );
}

async function makeLog(connection: SqlConnection, width: number): Promise<void> {
  assert(width < LIMITS.columnsPerTableMax, 'inspection bounds the columns of a table');
  await connection.query(
    `CREATE TABLE IF NOT EXISTS ${CAPTURE_LOG} ` +
      `(seq INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT NOT NULL, w INTEGER NOT NULL, ${logColumn(0)})`,
  );
  const { rows } = await connection.query(`SELECT name FROM pragma_table_info('${CAPTURE_LOG}')`);
  const present = new Set(rows.map(([name]) => name));
  for (let at = 0; at < width; at += 1) {
    if (present.has(logColumn(at))) continue;
    await connection.query(`ALTER TABLE ${CAPTURE_LOG} ADD COLUMN ${logColumn(at)}`);
  }
}

interface Trigger {
  readonly name: string;
  readonly sql: string;
}

function triggers(dialect: Dialect, table: CapturedTable): Trigger[] {
  const name = dialect.id(table.table);
  const log = (weight: number, image: string, rest = ''): string => {
    const columns = table.columns.map((_, at) => logColumn(at)).join(', ');
    const values = table.columns.map((column) => `${image}${dialect.id(column.name)}`).join(', ');
    const text = `'${table.table.replaceAll("'", "''")}'`;
    return `INSERT INTO ${CAPTURE_LOG} (t, w, ${columns}) SELECT ${text}, ${weight}, ${values}${rest};`;
  };
  const made = (moment: string, body: string): Trigger => {
    const trigger = `tm_capture_${table.table}_${moment.replace(' ', '_').toLowerCase()}`;
    const sql = `CREATE TRIGGER ${dialect.id(trigger)} ${moment} ON ${name} FOR EACH ROW BEGIN ${body} END`;
    return { name: trigger, sql };
  };
  const taken = table.primaryKey.map((key) => `${dialect.id(key)} = NEW.${dialect.id(key)}`).join(' AND ');
  const kept = table.primaryKey.map((key) => `OLD.${dialect.id(key)} = NEW.${dialect.id(key)}`).join(' AND ');
  const text = `${table.table}: another row has this key; delete it first`.replaceAll("'", "''");
  const refused = `SELECT RAISE(ABORT, '${text}')`;
  return [
    // UPDATE OR REPLACE would remove that other row untold; a plain UPDATE fails on it in any case.
    made(
      'BEFORE UPDATE',
      `${refused} WHERE NOT (${kept}) AND EXISTS (SELECT 1 FROM ${name} WHERE ${taken});`,
    ),
    // REPLACE deletes the row with the same key without firing its delete trigger (sqlite.org/lang_conflict):
    // it is noted before each insert, and counts as deleted if that very insert then happens.
    made('BEFORE INSERT', log(WEIGHT_TAKEN, '', ` FROM ${name} WHERE ${taken}`)),
    made('AFTER INSERT', log(1, 'NEW.')),
    made('AFTER UPDATE', `${log(-1, 'OLD.')} ${log(1, 'NEW.')}`),
    made('AFTER DELETE', log(-1, 'OLD.')),
  ];
}
