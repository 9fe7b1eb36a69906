import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEmbedded, type SqlEngine } from '../../src/sql/index.ts';
import { builtCli } from '../support/dist.ts';
import { codeOf, engineContract } from './engine-contract.ts';

/** Takes seconds in one call of the library, which cannot be interrupted. */
const SLOW =
  'WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000) SELECT SUM(x) FROM n';

describe('the embedded engine', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-sql-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const engineOn = (file: string): SqlEngine =>
    openEmbedded({ kind: 'embedded', file: join(folder, file) }, { poolMax: 4 });

  engineContract(() => {
    const engine = engineOn('contract.db');
    return Promise.resolve({ engine, close: () => engine.close() });
  });

  it('lets one writer wait for another, then gives up with DB_BUSY and no transaction', async () => {
    const engine = openEmbedded({ kind: 'embedded', file: join(folder, 'busy.db') }, { lockWaitMs: 300 });
    const [first, second] = await Promise.all([1, 2].map(() => engine.connect({ purpose: 'test' })));
    await first?.query('CREATE TABLE t (n INTEGER)');
    await first?.begin('write');
    const waiting = second?.begin('write');
    await first?.query('INSERT INTO t VALUES (1)');
    await first?.commit();
    await waiting;
    expect((await second?.query('SELECT n FROM t'))?.rows).toEqual([[1n]]);
    expect(await codeOf(first?.begin('write') ?? Promise.resolve())).toBe('DB_BUSY');
    await second?.commit();
    await first?.begin('write');
    await engine.close();
  });

  it('survives that a connection is destroyed inside a call, and frees its locks after it', async () => {
    const engine = engineOn('kill.db');
    const connection = await engine.connect({ purpose: 'test' });
    await connection.query('CREATE TABLE t (n INTEGER)');
    await connection.begin('write');
    const slow = codeOf(connection.query(SLOW));
    connection.destroy();
    expect(await slow).toBe('DB_UNREACHABLE');
    await engine.kill(connection.id);
    await engine.use('test', async (other) => {
      await other.begin('write');
      await other.rollback();
    });
    await engine.close();
  });

  it('ends the work of a cancelled use before it says so', async () => {
    const engine = engineOn('cancel.db');
    const cancel = new AbortController();
    let id = '';
    const work = engine.use(
      'test',
      async (connection) => {
        ({ id } = connection);
        await connection.begin('write');
        cancel.abort();
        await connection.query(SLOW);
      },
      cancel.signal,
    );
    expect(await codeOf(work)).toBe('CANCELLED');
    expect(id).not.toBe('');
    await engine.use('test', (connection) => connection.begin('write'));
    await engine.close();
  });

  it('can drop a table after a statement over it has failed half way', async () => {
    const engine = engineOn('half.db');
    await engine.use('test', async (connection) => {
      await connection.query('CREATE TABLE t (n INTEGER)');
      await connection.insertRows('t', ['n'], [[1n], [2n], [-(2n ** 63n)]]);
      expect(await codeOf(connection.query('SELECT abs(n) FROM t'))).toBe('VALUE_RANGE');
      await connection.query('DROP TABLE t');
    });
    await engine.close();
  });

  it('refuses text with a zero character, which the library would cut off', async () => {
    const engine = engineOn('zero.db');
    expect(await codeOf(engine.use('test', (connection) => connection.query('SELECT ?', ['a\0b'])))).toBe(
      'VALUE_RANGE',
    );
    await engine.close();
  });

  it('names a folder that is not there and a file that is no database', async () => {
    const missing = engineOn('no/such/folder.db');
    expect(await codeOf(missing.use('test', () => Promise.resolve()))).toBe('DB_UNREACHABLE');
    await writeFile(
      join(folder, 'garbage.db'),
      'this is not a database, but long enough to be read as one'.repeat(40),
    );
    const garbage = engineOn('garbage.db');
    expect(await codeOf(garbage.use('test', () => Promise.resolve()))).toBe('DATA_CORRUPT');
  });

  it('refuses DECIMAL, which SQLite would keep as a float', () => {
    const { dialect } = engineOn('decimal.db');
    expect(() => dialect.columnType('DECIMAL(10,2)')).toThrow(
      expect.objectContaining({ code: 'DECIMAL_EMBEDDED' }),
    );
    expect(() => dialect.storedType('DECIMAL(10,2)')).toThrow(
      expect.objectContaining({ code: 'DECIMAL_EMBEDDED' }),
    );
    expect(() => dialect.castSum('x', 'DECIMAL(10,2)')).toThrow(
      expect.objectContaining({ code: 'DECIMAL_EMBEDDED' }),
    );
  });

  describe('in a process of its own', () => {
    it('says which package is missing', async () => {
      const copy = join(folder, 'without-libsql');
      const built = join(process.cwd(), await builtCli(), '../..');
      await mkdir(join(copy, 'node_modules'), { recursive: true });
      for (const part of ['base', 'sql'])
        await cp(join(built, part), join(copy, 'dist', part), { recursive: true });
      await cp(join(built, '../package.json'), join(copy, 'package.json'));
      for (const name of ['msgpackr', 'mysql2']) {
        await symlink(join(built, '../node_modules', name), join(copy, 'node_modules', name));
      }
      const code = `const { openEmbedded } = await import('./dist/sql/index.js');
        const engine = openEmbedded({ kind: 'embedded', file: 'x.db' });
        await engine.connect({ purpose: 'test' }).catch((error) => process.stdout.write(error.code));`;
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
        cwd: copy,
      });
      expect(stdout).toBe('ENGINE_MISSING');
    });

    const script = async (body: string): Promise<string> => {
      const sql = join(process.cwd(), await builtCli(), '../../sql/index.js');
      const file = JSON.stringify(join(folder, 'process.db'));
      const code = `const { openEmbedded } = await import(${JSON.stringify(sql)});
        const engine = openEmbedded({ kind: 'embedded', file: ${file} });
        const connection = await engine.connect({ purpose: 'test' });
        ${body}`;
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
        timeout: 20_000,
      });
      return stdout;
    };

    it('does not keep it alive with an idle connection', async () => {
      expect(await script(`await connection.query('SELECT 1'); process.stdout.write('done');`)).toBe('done');
    });

    it('keeps it alive while a statement runs', async () => {
      const slow = JSON.stringify(SLOW);
      expect(await script(`connection.query(${slow}).then(() => process.stdout.write('done'));`)).toBe(
        'done',
      );
    });

    it('lets it exit inside a call without being aborted', async () => {
      const slow = JSON.stringify(SLOW);
      expect(await script(`void connection.query(${slow}); setTimeout(() => process.exit(0), 100);`)).toBe(
        '',
      );
    });
  });
});
