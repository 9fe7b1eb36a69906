// Faults of the source and of what it is asked to take: definitions, large and prepared transactions, a log
// that was purged.
import mysql from 'mysql2/promise';
import { CONSEQUENCE_WITHIN_MS, mergedAgain, sealedAgain, sourceNow } from './placed.mjs';
import { pause, within } from './timing.mjs';

const LOST_WITHIN_MS = 60_000;
const WINDOWS_MS = 1_500;

const text = ({ state, problem }) => `${state}, problem ${JSON.stringify(problem)}`;
const positionOf = async (server) => (await server.query('SELECT @@gtid_binlog_pos AS position'))[0].position;

async function onSource({ servers }, work) {
  const connection = await mysql.createConnection({ uri: servers.source.rootUrl });
  try {
    return await work(async (sql, values) => (await connection.query(sql, values))[0], connection);
  } finally {
    connection.destroy();
  }
}

/** A captured table is altered while it changes; `statement` gets the columns that earlier ones added. */
const altered = (statement) => async (world) =>
  onSource(world, async (query) => {
    const columns = await query(
      `SELECT column_name AS name, data_type AS type FROM information_schema.columns
       WHERE table_schema = 'chaos' AND table_name = 'sales' AND column_name LIKE 'more\\_%' ORDER BY 1`,
    );
    const next = `more_${(world.columnsAdded = (world.columnsAdded ?? 0) + 1)}`;
    const change = statement(columns, next);
    const { mark } = world.records;
    if (change === undefined) {
      await query(`ALTER TABLE sales ADD COLUMN ${next} INT NULL`);
      return false;
    }
    await query(`ALTER TABLE sales ${change}`);
    const told = ({ record }) => record.msg === 'a table was altered';
    const seen = await world.records.after(mark, told, CONSEQUENCE_WITHIN_MS);
    return seen !== undefined && mergedAgain(world);
  });

const last = (columns) => columns.at(-1)?.name;
const narrow = (columns) => columns.find(({ type }) => type === 'int')?.name;

async function largeTransaction(world) {
  const [before] = await world.client.listWindows({ limit: 1 });
  await world.load.large(world.largeRows);
  const inOne = await within(CONSEQUENCE_WITHIN_MS, async () => {
    const windows = await world.client.listWindows({ limit: 50 });
    return windows.some(({ window, rows }) => window > before.window && Number(rows) >= world.largeRows);
  });
  return inOne === true && mergedAgain(world);
}

/** A transaction of another table is prepared, and committed after windows were sealed meanwhile. */
const preparedByStranger = (world) =>
  onSource(world, async (query) => {
    await query('CREATE TABLE IF NOT EXISTS strangers (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT)');
    const xid = `'stranger${await positionOf(world.servers.source)}'`;
    await query(`XA START ${xid}`);
    await query('INSERT INTO strangers VALUES (NULL)');
    await query(`XA END ${xid}`);
    await query(`XA PREPARE ${xid}`);
    const meanwhile = await sealedAgain(world);
    await query(`XA COMMIT ${xid}`);
    return meanwhile && mergedAgain(world);
  });

/** The source says what it cannot go on for, and reading the tables again leads out. */
async function readAgain(world, code) {
  const before = await sourceNow(world);
  world.changes.gapBegins(before.lastWindow);
  try {
    return await readFrom(world, before, code);
  } finally {
    const running = await within(LOST_WITHIN_MS, async () => {
      const source = await sourceNow(world);
      return source?.state === 'running' && source;
    });
    if (running !== undefined) world.changes.gapEnds(running.lastWindow);
  }
}

async function readFrom(world, before, code) {
  const told = await within(LOST_WITHIN_MS, async () => {
    const source = await sourceNow(world);
    return ['lost', 'stuck', 'failed'].includes(source?.state) && source.problem.includes(code);
  });
  if (told !== true) {
    world.say(`the source is ${text(await sourceNow(world))}`);
    return false;
  }
  await world.client.resnapshot(before.name);
  return (await sealedAgain(world)) && mergedAgain(world);
}

const preparedOnCaptured = (world) =>
  onSource(world, async (query, connection) => {
    await world.log.numbered(connection, async () => {
      await query("XA START 'captured'");
      await query('UPDATE items SET price = price + 1 WHERE item_id = 1');
      await query("XA END 'captured'");
      await query("XA PREPARE 'captured'");
      await query("XA COMMIT 'captured'");
    });
    return readAgain(world, 'SOURCE_UNTELLABLE');
  });

const truncated = (world) =>
  onSource(world, async (query, connection) => {
    await world.log.numbered(connection, async () => {
      await world.log.emptied(connection, 'ballast');
      await query('TRUNCATE ballast');
    });
    const again = await readAgain(world, 'SOURCE_UNTELLABLE');
    await world.load.large(20);
    return again;
  });

/** The source drops its log while nobody reads it. */
async function purged(world) {
  const { cluster } = world;
  for (const child of cluster.executors) child.suspend();
  try {
    await pause(WINDOWS_MS);
    await onSource(world, async (query) => {
      const readers = await query(
        "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'",
      );
      for (const { id } of readers) await query(`KILL ${id}`);
      await query('FLUSH BINARY LOGS');
      await pause(WINDOWS_MS);
      await query('FLUSH BINARY LOGS');
      const logs = await query('SHOW BINARY LOGS');
      await query(`PURGE BINARY LOGS TO '${logs.at(-1).Log_name}'`);
    });
  } finally {
    for (const child of cluster.executors) child.resume();
  }
  return readAgain(world, 'BINLOG_PURGED');
}

/** Two transactions of the business wait for each other. */
async function deadlocks(world) {
  const { load, log } = world;
  const before = load.totals.failed;
  const one = await mysql.createConnection({ uri: world.servers.source.rootUrl });
  const other = await mysql.createConnection({ uri: world.servers.source.rootUrl });
  const bump = (connection, item) =>
    connection.query('UPDATE items SET price = price + 1 WHERE item_id = ?', [item]);
  let meet;
  const met = new Promise((resolve) => {
    meet = resolve;
  });
  let there = 0;
  const crossing = (connection, first, second) =>
    log.transaction(connection, async () => {
      await bump(connection, first).finally(() => (there += 1) === 2 && meet());
      await met;
      await bump(connection, second);
    });
  try {
    const waits = await Promise.allSettled([crossing(one, 1, 2), crossing(other, 2, 1)]);
    const victims = waits.filter(({ reason }) => reason?.code === 'ER_LOCK_DEADLOCK').length;
    return victims + load.totals.failed - before > 0 && mergedAgain(world);
  } finally {
    one.destroy();
    other.destroy();
  }
}

export const SOURCE_FAULTS = {
  'a table gets a column': altered((_, next) => `ADD COLUMN ${next} INT NULL`),
  'a table gets a column before others': altered((_, next) => `ADD COLUMN ${next} INT NULL AFTER sale_id`),
  'a column gets wider': altered((columns) => {
    const name = narrow(columns);
    return name === undefined ? undefined : `MODIFY COLUMN ${name} BIGINT NULL`;
  }),
  'a table loses a column': altered((columns) => {
    const name = last(columns);
    return name === undefined ? undefined : `DROP COLUMN ${name}`;
  }),
  'a large transaction': largeTransaction,
  'a transaction of another table prepared': preparedByStranger,
  'a transaction of captured rows prepared, the source read again': preparedOnCaptured,
  'a captured table truncated, the source read again': truncated,
  'the log of the source purged, the source read again': purged,
  'transactions of the source deadlock': deadlocks,
};
