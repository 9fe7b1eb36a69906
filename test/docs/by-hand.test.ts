/** The README's part "By hand" and the tutorial, run as they stand: commands, job files, SQL, results. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { readFences } from '../support/fences.ts';
import { mariadbMissing, mariadbUrl } from '../support/mariadb.ts';
import { Terminals } from './terminals.ts';

/**
 * Each look starts a program or a query: often enough to be prompt, seldom enough to leave the cluster its
 * CPU.
 */
const LOOKING = { withinMs: 30_000, everyMs: 300 };

describe.skipIf(mariadbMissing())('the README by hand', () => {
  const databases = ['shop', 'tidemark_store', 'tidemark_reports'];
  let server: Connection;
  let terminals: Terminals;

  beforeAll(async () => {
    const url = await mariadbUrl();
    server = await mysql.createConnection({ uri: url, multipleStatements: true, dateStrings: true });
    await dropDatabases();
    terminals = await Terminals.inClone({
      SHOP_URL: `${url}/shop`,
      STORE_URL: `${url}/tidemark_store`,
      REPORTS_URL: `${url}/tidemark_reports`,
    });
  });

  afterAll(async () => {
    await terminals.close();
    await dropDatabases();
    await server.end();
  });

  const dropDatabases = async (): Promise<void> => {
    for (const name of databases) await server.query(`DROP DATABASE IF EXISTS ${name}`);
  };

  /** The query's own comment says what it shows: a line of column names, then the rows. */
  const expectShown = async (query: string): Promise<void> => {
    const lines = query.split('\n');
    const comments = lines.filter((line) => line.startsWith('-- '));
    const [names, ...expected] = comments.map((line) => line.slice(3).trim().split(/\s+/));
    const sql = lines.filter((line) => !line.startsWith('-- ')).join('\n');
    const check = async (): Promise<void> => {
      const [rows, fields] = await server.query({ sql, rowsAsArray: true });
      expect(fields.map(({ name }) => name)).toEqual(names);
      expect((rows as unknown[][]).map((row) => row.map(String))).toEqual(expected);
    };
    await eventually(check, { ...LOOKING, what: () => terminals.said() });
  };

  /** The command of the terminal in which the leader runs. */
  const leaderCommand = async (): Promise<string> => {
    const answer = await terminals.run('npx tidemark cluster status --output json');
    const { coordinators } = JSON.parse(answer) as { coordinators: { endpoint: string; role?: string }[] };
    const leader = coordinators.find(({ role }) => role === 'leader')?.endpoint ?? 'nobody';
    const command = terminals.find(`--client-listen ${leader}`);
    if (command === undefined) throw new Error(`no leader: ${answer}`);
    return command;
  };

  it('shows what it says, also when the leader is killed', { timeout: 90_000 }, async () => {
    const fences = (await readFences('README.md')).filter(({ heading }) => heading === 'By hand');
    const query = fences.at(-1)?.text ?? '';
    for (const { language, text } of fences.slice(0, -1)) {
      if (language === 'yaml') await writeFile(join(terminals.folder, 'shop.yaml'), text);
      else if (language === 'sql') await server.query(text);
      else await terminals.type(text);
    }
    await expectShown(query);

    const leader = await leaderCommand();
    await terminals.kill(leader);
    await server.query("INSERT INTO shop.orders VALUES (4, 'NL', '2026-11-21', 100)");
    const found = async (): Promise<void> => {
      const [rows] = await server.query<RowDataPacket[]>(
        'SELECT country FROM tidemark_reports.country_day ORDER BY 1',
      );
      expect(rows.map((row) => row['country'] as string)).toEqual(['DE', 'NL']);
    };
    await eventually(found, { ...LOOKING, what: () => terminals.said() });
    await terminals.open(leader);
    await expectShown(`${query}\n-- NL  2026-11-21  1  100  100`);
  });
});

describe('the tutorial', () => {
  let terminals: Terminals;

  beforeAll(async () => {
    terminals = await Terminals.inClone({});
  });

  afterAll(() => terminals.close());

  it('shows what it says, also after its executor was killed', { timeout: 90_000 }, async () => {
    const files = { js: 'sql.cjs', yaml: 'first.yaml' } as const;
    const fences = await readFences('docs/tutorial/first-report.md');
    for (const [index, { language, text, heading }] of fences.entries()) {
      const following = fences[index + 1];
      if (language === 'js' || language === 'yaml') {
        await writeFile(join(terminals.folder, files[language]), text);
      } else if (following?.language === 'text') {
        const check = async (): Promise<void> => {
          expect((await terminals.run(text)).trim()).toBe(following.text);
        };
        await eventually(check, { ...LOOKING, what: () => terminals.said() });
      } else if (language === 'sh') {
        // The page says so in words.
        if (heading === '5. Kill it') await terminals.kill(terminals.find('executor start') ?? '');
        await terminals.type(text);
      }
    }
  });
});
