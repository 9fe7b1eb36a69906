import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { isTidemarkError, LIMITS, type TidemarkError } from '../../src/base/index.ts';
import { parseJobFile } from '../../src/job/index.ts';
import { bend, embeddedJob, JOB_YAML } from './sample-job.ts';

function problem(text: string): TidemarkError {
  try {
    parseJobFile(text);
  } catch (error) {
    if (isTidemarkError(error)) return error;
    throw error;
  }
  throw new Error('the job file was accepted');
}

/** A few lines that would unfold to thousands of values. */
const MANY_ALIASES = [
  'a: &a [1, 1, 1, 1]',
  'b: &b [*a, *a, *a, *a]',
  'c: &c [*b, *b, *b, *b]',
  'd: &d [*c, *c, *c, *c]',
  'e: [*d, *d, *d, *d]',
].join('\n');

describe('a job file', () => {
  it('becomes lists with defaults filled in', () => {
    const file = parseJobFile(JOB_YAML);
    expect(file).toMatchObject({
      name: 'shop',
      sources: [
        {
          name: 'shop',
          database: { mysql: { url: { env: 'SHOP_URL' } } },
          tables: [{ table: 'orders' }, { table: 'lines', shardKey: 'merchant_id' }],
          window: { lengthMs: 1000, rowsMax: LIMITS.windowRowsMax, bytesMax: LIMITS.windowBytesMax },
        },
      ],
      stores: [
        {
          name: 'main',
          database: { mysql: { url: { file: 'secrets/store' } } },
          replicas: [],
          slots: { first: 0, last: 1_023 },
        },
      ],
    });
    expect(file.reports).toMatchObject([
      {
        name: 'sales',
        source: 'shop',
        database: 'reports',
        inputs: [
          { alias: 'o', kind: 'changes', table: 'orders' },
          { alias: 'm', kind: 'dimension', table: 'merchants' },
        ],
        keys: [
          { name: 'country', type: 'TEXT(2)' },
          { name: 'day', type: 'DATE' },
        ],
        measures: [
          { name: 'orders', kind: 'count', type: 'BIGINT' },
          { name: 'revenue', kind: 'sum', type: 'DECIMAL(12,2)' },
          { name: 'largest', kind: 'max', type: 'BIGINT' },
        ],
      },
    ]);
  });

  it('has windows of three seconds by default', () => {
    expect(parseJobFile(bend('sources.shop.window', undefined)).sources[0]?.window.lengthMs).toBe(3_000);
  });

  it.each([
    ['job: [', /^1:\d+ /],
    ['job: a\njob: b', /^2:1 .*unique/i],
    ['a: &x [1]\nb: {<<: *y}', /aliases.*Unresolved/],
    [MANY_ALIASES, /aliases/],
  ])('that is no YAML is JOB_SYNTAX with its place: %j', (text, message) => {
    expect(problem(text)).toMatchObject({
      code: 'JOB_SYNTAX',
      message: expect.stringMatching(message) as string,
    });
  });

  it('may be large, but not too large', () => {
    expect(problem(`# ${'x'.repeat(LIMITS.jobFileBytesMax)}\n${JOB_YAML}`)).toMatchObject({
      code: 'JOB_INVALID',
    });
    expect(parseJobFile(`# ${'x'.repeat(100_000)}\n${JOB_YAML}`).name).toBe('shop');
  });

  it.each(['', '[]', 'text', 'null'])('that is no map is JOB_INVALID: %j', (text) => {
    expect(problem(text)).toMatchObject({ code: 'JOB_INVALID' });
  });

  it.each([
    ['version', 2, 'JOB_INVALID', '1:1 version: this program reads version: 1'],
    ['sources', undefined, 'JOB_INVALID', 'sources: missing; it is a map'],
    ['source', {}, 'JOB_INVALID', 'source: unknown key; did you mean sources?'],
    ['sources.shop.tabels', [], 'JOB_INVALID', 'sources.shop.tabels: unknown key; did you mean tables?'],
    ['sources.shop.window.length', 1, 'JOB_INVALID', 'window.length: unknown key; did you mean lengthMs?'],
    ['sources.shop.window.lengthMs', '1s', 'JOB_INVALID', 'sources.shop.window.lengthMs: invalid input'],
    ['sources.shop.embedded', { file: 'x' }, 'JOB_INVALID', 'name one database: mysql or embedded'],
    ['sources.shop.tables', ['orders', 'orders'], 'JOB_INVALID', 'tables.1: orders is listed twice'],
    ['sources.shop.tables', [7], 'JOB_INVALID', 'tables.0: a table is a name, {table: NAME'],
    [
      'sources.shop.tables',
      ['o'.repeat(41)],
      'JOB_INVALID',
      "tables.0: a captured table's name has at most 40",
    ],
    ['sources.shop.mysql.url', 'mysql://u:p@h/d', 'JOB_INVALID', 'write {env: NAME} or {file: PATH}'],
    ['sources.shop.mysql.url', { envv: 'X' }, 'JOB_INVALID', 'write {env: NAME} or {file: PATH}'],
    ['sources.shop.mysql.url', { env: 'X', file: 'Y' }, 'JOB_INVALID', 'write {env: NAME} or {file: PATH}'],
    ['reports.9x', {}, 'JOB_INVALID', 'reports.9x: a name is made of letters'],
    ['reports.tm_x', {}, 'JOB_INVALID', 'names that begin with tm_'],
    ['reports', {}, 'JOB_INVALID', 'reports: at least one is needed'],
    ['reports.sales.source', 'shpo', 'JOB_INVALID', 'there is no source shpo; did you mean shop?'],
    ['reports.sales.database', 'x', 'JOB_INVALID', 'there is no database x; known here: reports'],
    ['reports.sales.inputs.o', { changes: 'order' }, 'JOB_INVALID', 'did you mean orders?'],
    [
      'reports.sales.inputs.o',
      { dimension: 'orders' },
      'JOB_INVALID',
      'a table that changes is no dimension',
    ],
    [
      'reports.sales.inputs.m',
      {},
      'JOB_INVALID',
      'name one: changes: TABLE, state: TABLE or dimension: TABLE',
    ],
    ['reports.sales.inputs', { m: { dimension: 'x' } }, 'JOB_INVALID', 'one input is of kind changes'],
    ['reports.sales.inputs.O', { dimension: 'x' }, 'JOB_INVALID', 'upper and lower case'],
    ['reports.sales.keys', {}, 'JOB_INVALID', 'a report has 1 to 16 keys'],
    ['reports.sales.keys.long', 'TEXT(800)', 'JOB_INVALID', 'over 3000'],
    ['reports.sales.measures.orders.kind', 'cuont', 'JOB_INVALID', 'did you mean count?'],
    ['reports.sales.measures.largest.type', undefined, 'JOB_INVALID', 'measures.largest: type is missing'],
    ['reports.sales.measures.day', { kind: 'count' }, 'JOB_INVALID', 'another key or measure has this name'],
    ['reports.sales.keys.country', 'VARCHAR(2)', 'COLUMN_TYPE', 'keys.country: unknown or impossible'],
    ['reports.sales.keys.country', 'DOUBLE', 'COLUMN_TYPE', 'not compared exactly'],
    ['reports.sales.keys.country', 'DECIMAL(2,3)', 'COLUMN_TYPE', 'unknown or impossible'],
    ['reports.sales.measures.revenue.type', 'DOUBLE', 'MEASURE_TYPE', 'cannot be kept exactly by sum'],
    ['reports.sales.measures.revenue.type', 'TEXT(5)', 'MEASURE_TYPE', 'cannot be kept exactly by sum'],
    [
      'reports.sales.inputs.m',
      { state: 'merchants' },
      'JOB_INVALID',
      'table merchants is not captured from shop',
    ],
    [
      'reports.sales.inputs.m',
      { changes: 'lines' },
      'SQL_INVALID',
      'a SELECT that joins changes returns o._w * m._w AS _w',
    ],
    [
      'reports.sales.class',
      'affectedKey',
      'JOB_INVALID',
      'there is no class affectedKey; did you mean affectedKeys?',
    ],
    ['stores.main', { embedded: { file: 'x' } }, 'JOB_UNSUPPORTED', 'mixed engines'],
    [
      'reports.sales.sql',
      'SELECT 1 FROM x',
      'SQL_INVALID',
      'reports.sales.sql: SQL line 1, column 15: x is no input',
    ],
  ])('with %s = %j is %s', (path, value, code, message) => {
    const error = problem(bend(path, value));
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
    expect(error.next).toBeDefined();
  });

  it('never repeats a password that was written into it', () => {
    const error = problem(bend('sources.shop.mysql.url', 'mysql://root:hunter2@h/d'));
    expect(`${error.message} ${String(error.next)}`).not.toContain('hunter2');
  });

  it('tells line and column of each problem, in the order of the file', () => {
    const text = JOB_YAML.replace('    window:', '    windwo:')
      .replace('kind: max', 'kidn: max')
      .replace('job: shop', 'job: shop-1');
    expect(
      problem(text)
        .message.split('\n')
        .map((line) => line.split(': ')[0]),
    ).toEqual([
      '2:1 job',
      '7:5 sources.shop.windwo',
      '21:7 reports.sales.measures.largest.kind',
      '21:17 reports.sales.measures.largest.kidn',
    ]);
  });

  it('tells no more than twenty problems', () => {
    const many = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`k${at}`, 1]));
    expect(problem(stringify({ ...many, version: 1 })).message.split('\n')).toHaveLength(21);
  });

  it('refuses DECIMAL where a value would pass through the embedded engine', () => {
    expect(problem(stringify(embeddedJob()))).toMatchObject({ code: 'DECIMAL_EMBEDDED' });
  });

  it('wants a report to say its source and database when there is more than one', () => {
    const error = problem(bend('databases.other', { mysql: { url: { env: 'X' } } }));
    expect(error).toMatchObject({
      code: 'JOB_INVALID',
      message: expect.stringContaining('database is missing') as string,
    });
  });

  it('cannot reach the prototype of anything', () => {
    const text = JOB_YAML.replace('  sales:', '  __proto__:');
    expect(problem(text)).toMatchObject({ code: 'JOB_INVALID' });
    expect(({} as Record<string, unknown>)['inputs']).toBeUndefined();
  });
});
