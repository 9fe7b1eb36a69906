import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LIMITS, systemClock } from '../../src/base/index.ts';
import { compiledText, validateJob, type KnownJob } from '../../src/executor/validate-job.ts';
import type { CompiledJob } from '../../src/job/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';
import { rule } from '../support/rule.ts';
import { jobYaml, makeShop } from './shop.ts';

const NOTHING = { sources: [], reports: [] };
const WATCH = { clock: systemClock, log: { info: () => undefined, warn: () => undefined } };

const withStores = (place: 'embedded' | 'mysql', stores: string): string =>
  jobYaml(place).replace(/^ {2}shard1: .*$/m, stores);

describe('validating a job', () => {
  rule('job.compiledUnbounded', 'refuses one that would fit no operation of the log', () => {
    const { database, ...rest } = { database: { embedded: { file: 'f' } }, format: 2, name: 'shop' };
    const none = { sources: [], sinks: [], reports: [], paused: [] };
    const group = { name: 'store', engine: 'embedded' as const, database, replicas: [], slots: [] };
    const job = { ...rest, ...none, topology: { format: 2, shards: [group] } };
    expect(JSON.parse(compiledText(job))).toEqual(job);
    const large = { ...job, name: 'é'.repeat(LIMITS.opBytesMax / 2) };
    expect(() => compiledText(large)).toThrow(/^the compiled job has \d+ bytes; at most/);
  });

  it('refuses two shards in one file, however it is named', async () => {
    const stores = '  a: {embedded: {file: store.db}}\n  b: {embedded: {file: ./store.db}}';
    await expect(
      validateJob({ env: {}, baseFolder: '/nowhere' }, WATCH, withStores('embedded', stores), NOTHING),
    ).rejects.toMatchObject({
      code: 'TOPOLOGY_INVALID',
      message: 'stores.b leads to the same database as stores.a',
    });
  });

  it('refuses a replica that is the primary of another shard under another name', async () => {
    const url = (env: string): string => `{mysql: {url: {env: ${env}}}`;
    const stores = `  a: ${url('A')}, replicas: [${url('A2')}}]}\n  b: ${url('B')}}`;
    const server = 'mysql://u:secret@127.0.0.1:9/';
    const env = { SOURCE_URL: `${server}s`, A: `${server}a`, A2: `${server}b`, B: `${server}b` };
    const refused = validateJob({ env, baseFolder: '/nowhere' }, WATCH, withStores('mysql', stores), NOTHING);
    await expect(refused).rejects.toMatchObject({
      code: 'TOPOLOGY_INVALID',
      message: 'stores.b leads to the same database as stores.a.replicas.0',
    });
    await expect(refused).rejects.not.toThrow('secret');
  });
});

describe.skipIf(mariadbMissing())('a report that its source is asked about', () => {
  const names = ['source', 'store', 'reports'] as const;
  const databases: FreshDatabase[] = [];
  const env: Record<string, string> = {};
  let source: SqlEngine;

  beforeAll(async () => {
    for (const name of names) {
      const database = await freshDatabase(`validate_${name}`);
      databases.push(database);
      env[`${name.toUpperCase()}_URL`] = database.url;
    }
    source = openEngine({ kind: 'mysql', url: env['SOURCE_URL'] ?? '' });
    await makeShop(source);
    await source.use('test', async (connection) => {
      await connection.query('CREATE SEQUENCE numbers');
      await connection.query(
        'CREATE FUNCTION next_number() RETURNS BIGINT DETERMINISTIC RETURN nextval(numbers)',
      );
      await connection.query('CREATE TABLE many (id BIGINT NOT NULL PRIMARY KEY, other BIGINT)');
      await connection.query('INSERT INTO many SELECT seq, seq FROM seq_1_to_20000');
      await connection.query('ANALYZE TABLE many');
    });
  });

  afterAll(async () => {
    await source.close();
    for (const database of databases) await database.drop();
  });

  const validated = (edit: (yaml: string) => string): Promise<string> =>
    codeOf(validateJob({ env, baseFolder: '/nowhere' }, WATCH, edit(jobYaml('mysql')), NOTHING));
  const instead = (value: string) => (yaml: string) =>
    yaml.replace('o.cents AS revenue', `${value} AS revenue`);
  const alsoMany = (on: string) => (yaml: string) =>
    yaml
      .replace(
        'm: {dimension: merchants}',
        'm: {dimension: merchants}, a: {dimension: many}, b: {dimension: many}, c: {dimension: many}',
      )
      .replace(
        'ON m.merchant_id = o.merchant_id',
        `ON m.merchant_id = o.merchant_id JOIN a JOIN b JOIN c ON ${on}`,
      );

  it('is accepted when it only reads', async () => {
    expect(await validated((yaml) => yaml)).toBe('no error');
  });

  rule('job.reportMayWrite', 'is refused when it would write, though it looks at no rows', async () => {
    expect(await validated(instead('next_number()'))).toBe('SQL_WRITES');
  });

  rule('job.costIgnored', 'is refused when it would look at far too many combinations of rows', async () => {
    expect(await validated(alsoMany('a.other = b.other'))).toBe('SQL_TOO_SLOW');
  });

  it('is not held back by tables that are large but joined by their keys', async () => {
    expect(await validated(alsoMany('a.id = o.id AND b.id = o.id AND c.id = o.id'))).toBe('no error');
  });

  const asReader = async (tables: string): Promise<() => Promise<void>> => {
    const own = new URL(env['SOURCE_URL'] ?? '');
    const schema = own.pathname.slice(1);
    const user = `reader_${schema.slice(-8)}`;
    const run = (sql: string): Promise<unknown> => source.use('test', (connection) => connection.query(sql));
    await run(`CREATE USER ${user}@'127.0.0.1' IDENTIFIED BY 'only reads'`);
    for (const table of tables.split(' ')) {
      await run(`GRANT SELECT ON ${schema}.${table} TO ${user}@'127.0.0.1'`);
    }
    env['READER_URL'] = `mysql://${user}:only%20reads@127.0.0.1:${own.port}/${schema}`;
    return async () => {
      await run(`DROP USER ${user}@'127.0.0.1'`);
    };
  };
  const withReader = (yaml: string): string =>
    yaml.replace('    tables:', '    registration: {mysql: {url: {env: READER_URL}}}\n    tables:');

  it('is accepted under an account that may do nothing but read its tables', async () => {
    const drop = await asReader('orders merchants');
    expect(await validated(withReader)).toBe('no error');
    await drop();
  });

  rule('job.registrationIgnored', 'is checked under the account for registration', async () => {
    const drop = await asReader('orders');
    const code = await validated(withReader);
    await drop();
    expect(code).toBe('DB_ACCESS');
  });

  it('is refused with an account for registration that leads elsewhere', async () => {
    env['READER_URL'] = env['STORE_URL'] ?? '';
    expect(await validated(withReader)).toBe('JOB_INVALID');
  });

  /** Validates beside what `declared` says, while the source's server is away. */
  const awayFrom = async (
    declared: KnownJob,
    edit: (yaml: string) => string = (yaml) => yaml,
  ): Promise<CompiledJob> => {
    const dead = { ...env, SOURCE_URL: 'mysql://u:secret@127.0.0.1:9/s' };
    const yaml = edit(jobYaml('mysql').replace('tables: [orders]', 'tables: [many, orders]'));
    return await validateJob({ env: dead, baseFolder: '/nowhere' }, WATCH, yaml, declared);
  };
  const declaredJob = (): Promise<CompiledJob> => {
    const yaml = jobYaml('mysql').replace('tables: [orders]', 'tables: [orders, many]');
    return validateJob({ env, baseFolder: '/nowhere' }, WATCH, yaml, NOTHING);
  };

  rule('job.sealedSourceInspected', 'needs no server for a source that is captured', async () => {
    const job = await declaredJob();
    expect(await awayFrom(job)).toEqual(job);
  });

  rule('job.keptReportAsked', 'is not asked about where the file leaves it as it is', async () => {
    const job = await declaredJob();
    expect((await awayFrom(job)).reports).toEqual(job.reports);
    await expect(awayFrom({ ...job, reports: [] })).rejects.toMatchObject({
      code: 'DB_UNREACHABLE',
      message: expect.stringContaining('source shop cannot be asked about report by_country: ') as string,
    });
    await expect(awayFrom(job, instead('o.id'))).rejects.toMatchObject({ code: 'DB_UNREACHABLE' });
    await expect(awayFrom(NOTHING)).rejects.toMatchObject({
      message: expect.stringContaining('source shop cannot be asked about its tables: ') as string,
    });
  });

  const ofCells = (sql: string) => (yaml: string) =>
    `${yaml.slice(0, yaml.indexOf('    inputs:'))}    class: affectedKeys
    inputs: {o: {changes: orders}}
    keys: {merchant_id: BIGINT}
    measures: {n: {kind: value, type: BIGINT}, mean: {kind: value, type: "DECIMAL(12,2)"}}
    sql: ${sql}
`;

  it('of class affectedKeys is asked about as well, with what finds its touched keys', async () => {
    const all = 'SELECT merchant_id, COUNT(*) AS n, AVG(cents) AS mean FROM o GROUP BY merchant_id';
    expect(await validated(ofCells(all))).toBe('no error');
    expect(await validated(ofCells(all.replace('COUNT(*)', 'SUM(cents)')))).toBe('no error');
    expect(await validated(ofCells(all.replace('COUNT(*)', "MAX('x')")))).toBe('MEASURE_TYPE');
    expect(await validated(ofCells(all.replace(' AS mean', '')))).toBe('SQL_COLUMNS');
    expect(await validated(ofCells(all.replace('AVG(cents)', 'AVG(price)')))).toBe('SQL_INVALID');
    const touched = (sql: string) => (yaml: string) =>
      ofCells(all)(yaml).replace('changes: orders}', `changes: orders, touched: ${sql}}`);
    expect(await validated(touched('SELECT merchant_id FROM o'))).toBe('no error');
    expect(await validated(touched('SELECT id FROM o'))).toBe('SQL_COLUMNS');
  });
});
