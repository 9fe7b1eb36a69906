/**
 * The commands of docs/how-to/change-reports.md on the embedded engine, with three coordinators: the leader
 * is killed while a report is built, an executor while one is redefined. By order there are more keys than
 * a task holds, so contributions are staged. What is right is told by plain SQL over the source. It takes
 * half a minute: `npm run test:changes`.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';
import { readFences } from '../support/fences.ts';
import { Terminals } from './terminals.ts';

const TIDEMARK = 'node dist/cli/main.js';
const ORDERS = 21_000;
const SHOPS = 20;

const byOrder = (kind: string): string => `  by_order:
    inputs: { o: { changes: orders } }
    keys: { id: BIGINT }
    measures: { cents: { kind: ${kind}, type: BIGINT } }
    sql: SELECT o.id AS id, o.cents AS cents, o._w AS _w FROM o
`;
const BY_SHOP = `  by_shop:
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: count }, revenue: { kind: sum, type: BIGINT } }
    sql: SELECT o.shop AS shop, 1 AS orders, o.cents AS revenue, o._w AS _w FROM o
`;
/** Computed anew for the shops that a window touches; its rows come and go. */
const odd = (rest: number): string => `  odd:
    class: affectedKeys
    inputs: { o: { changes: orders } }
    keys: { shop: BIGINT }
    measures: { orders: { kind: value, type: BIGINT }, largest: { kind: value, type: BIGINT } }
    sql: >
      SELECT shop, COUNT(*) AS orders, MAX(cents) AS largest FROM o GROUP BY shop
      HAVING COUNT(*) % 2 = ${rest}
`;
const jobOf = (...reports: readonly string[]): string => `version: 1
job: shops
sources:
  shop:
    embedded: { file: shop.db }
    tables: [{ table: orders }]
    window: { lengthMs: 300 }
stores:
  store: { embedded: { file: store.db } }
databases:
  reports: { embedded: { file: reports.db } }
reports:
${reports.join('')}`;

const BY_SHOP_SQL = 'SELECT shop, COUNT(*), SUM(cents) FROM orders GROUP BY shop ORDER BY 1';
const oddSql = (rest: number): string =>
  `SELECT shop, COUNT(*), MAX(cents) FROM orders GROUP BY shop HAVING COUNT(*) % 2 = ${rest} ORDER BY 1`;
const BY_ORDER_SQL = 'SELECT id, cents FROM orders ORDER BY 1';

let terminals: Terminals;
let source: SqlEngine;
let reports: SqlEngine;
let page: string;
const clients: string[] = [];
const coordinators: string[] = [];
let business = Promise.resolve();
let busy = false;

const rows = async (engine: SqlEngine, sql: string): Promise<readonly (readonly SqlValue[])[]> =>
  (await engine.use('test', (connection) => connection.query(sql))).rows;
const patiently = (body: () => unknown): Promise<unknown> =>
  eventually(async () => await body(), { withinMs: 60_000, everyMs: 300, what: () => terminals.said() });

/** What the page tells to type; the list is its last block's. */
const typePage = async (...declared: readonly string[]): Promise<void> => {
  await writeFile(join(terminals.folder, 'job.yaml'), jobOf(...declared));
  await patiently(() => terminals.run(page));
};
const stateOf = async (name: string): Promise<string | undefined> => {
  const text = await terminals.run(`${TIDEMARK} report list --output json`);
  const list = (JSON.parse(text) as { reports: { name: string; state: string }[] }).reports;
  return list.find((one) => one.name === name && one.state !== 'dropping')?.state;
};
const executor = (name: string): string => `${TIDEMARK} executor start --name ${name}`;

function begin(): void {
  busy = true;
  business = (async () => {
    for (let n = 1; busy; n += 1) {
      await rows(source, `UPDATE orders SET cents = cents + 1, shop = (shop + 1) % ${SHOPS} WHERE id = ${n}`);
      await rows(source, `INSERT INTO orders (shop, cents) VALUES (${n % SHOPS}, ${n})`);
      await rows(source, `DELETE FROM orders WHERE id = ${n * 7}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
}
async function expectRightAtRest(truth: Readonly<Record<string, string>>): Promise<void> {
  busy = false;
  await business;
  for (const [view, plain] of Object.entries(truth)) {
    const right = await rows(source, plain);
    await patiently(async () => {
      expect(await rows(reports, `SELECT * FROM ${view} ORDER BY 1`)).toEqual(right);
    });
  }
  begin();
}

describe.skipIf(process.env['TIDEMARK_CHANGES_CASES'] === undefined)('the page on changing reports', () => {
  // The program is built first.
  beforeAll(async () => {
    for (let n = 0; n < 3; n += 1) clients.push(await ask({ want: 'address' }));
    terminals = await Terminals.inClone({ TIDEMARK_ENDPOINTS: clients.join() });
    const fences = await readFences('docs/how-to/change-reports.md');
    page = fences.map(({ text }) => text.replaceAll('npx tidemark', TIDEMARK)).join('\n');
    source = openEngine({ kind: 'embedded', file: join(terminals.folder, 'shop.db') });
    reports = openEngine({ kind: 'embedded', file: join(terminals.folder, 'reports.db') });
    await rows(
      source,
      'CREATE TABLE orders (id INTEGER PRIMARY KEY, shop BIGINT NOT NULL, cents BIGINT NOT NULL)',
    );
    await source.use('test', (connection) =>
      connection.insertRows(
        'orders',
        ['id', 'shop', 'cents'],
        Array.from({ length: ORDERS }, (_, id) => [id + 1, id % SHOPS, id]),
      ),
    );
    for (const [at, client] of clients.entries()) {
      const peer = await ask({ want: 'address' });
      const start = `${TIDEMARK} coordinator start --data c${at + 1} --peer-listen ${peer}`;
      coordinators.push(`${start} --client-listen ${client}`);
      await terminals.open(coordinators[at] ?? '');
    }
    await terminals.run(`${TIDEMARK} cluster init`);
    await terminals.open(executor('e1'));
    await terminals.open(executor('e2'));
  }, 180_000);

  afterAll(async () => {
    busy = false;
    await business;
    await source.close();
    await reports.close();
    await terminals.close();
  });

  it('reports change as the page says, on the embedded engine too', { timeout: 240_000 }, async () => {
    expect(page).toContain('apply -f job.yaml');
    await typePage(byOrder('sum'));
    begin();
    await expectRightAtRest({ by_order: BY_ORDER_SQL });
    await typePage(byOrder('sum'), BY_SHOP, odd(1));
    const text = await terminals.run(`${TIDEMARK} cluster members --output json`);
    const { members } = JSON.parse(text) as { members: { memberId: string; role: string }[] };
    const leader = members.find(({ role }) => role === 'leader')?.memberId;
    await terminals.kill(coordinators[Number(leader) - 1] ?? '');
    await patiently(async () => {
      expect([await stateOf('by_shop'), await stateOf('odd')]).toEqual(['live', 'live']);
    });
    await expectRightAtRest({ by_shop: BY_SHOP_SQL, odd: oddSql(1) });
    await typePage(byOrder('max'), `${BY_SHOP}    paused: true\n`, odd(0));
    await terminals.kill(executor('e1'));
    await patiently(async () => {
      expect([await stateOf('by_order'), await stateOf('by_shop')]).toEqual(['live', 'paused']);
    });
    await expectRightAtRest({ by_order: BY_ORDER_SQL, odd: oddSql(0) });
    await typePage(byOrder('max'), BY_SHOP, `${odd(0)}    paused: true\n`);
    await expectRightAtRest({ by_shop: BY_SHOP_SQL });
    expect(await stateOf('odd')).toBe('paused');
    await typePage(byOrder('max'), BY_SHOP, odd(0));
    await expectRightAtRest({ odd: oddSql(0) });
    await typePage(byOrder('max'));
    await patiently(async () => {
      const left = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'view' AND name IN ('by_shop', 'odd')";
      expect(await rows(reports, left)).toEqual([[0n]]);
    });
  });
});
