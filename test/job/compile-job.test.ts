import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compileJob, parseJobFile, resolveDatabase, specHash, stableJson } from '../../src/job/index.ts';
import type { CapturedTable, CompiledReport, CompileInput } from '../../src/job/index.ts';
import { JOB_YAML } from './sample-job.ts';

const column = (name: string) => ({ name, type: 'BIGINT', nullable: false });
const captured = (table: string): CapturedTable => ({
  table,
  schemaVersion: 1,
  columns: [column('id'), column('merchant_id')],
  primaryKey: ['id'],
  shardKey: 'id',
});
const input = (yaml: string): CompileInput => ({
  file: parseJobFile(yaml),
  tablesOf: (source) => source.tables.map(({ table }) => captured(table)),
});

describe('a compiled job', () => {
  it('holds what the file declares and what the databases say', () => {
    const job = compileJob(input(JOB_YAML));
    expect(job.topology).toEqual({
      format: 2,
      shards: [
        {
          name: 'main',
          engine: 'mysql',
          database: { mysql: { url: { file: 'secrets/store' } } },
          replicas: [],
          slots: [{ first: 0, last: 1_023 }],
        },
      ],
    });
    expect(job.sources[0]?.tables.map(({ table, shardKey }) => [table, shardKey])).toEqual([
      ['orders', 'id'],
      ['lines', 'merchant_id'],
    ]);
    expect(job.reports[0]).toMatchObject({
      source: 'shop',
      database: 'reports',
      inputs: [
        { alias: 'o', kind: 'changes', table: 'orders' },
        { alias: 'm', kind: 'dimension', table: 'merchants', columns: [] },
      ],
      keys: [
        { name: 'country', type: 'TEXT(2)', nullable: false },
        { name: 'day', type: 'DATE', nullable: false },
      ],
    });
    expect(JSON.parse(JSON.stringify(job))).toEqual(job);
  });

  it('refuses a shard key whose equal values may have different bytes', () => {
    const bent: CompileInput = {
      ...input(JOB_YAML),
      tablesOf: (source) =>
        source.tables.map(({ table }) => ({ ...captured(table), columns: [...doubles, column('id')] })),
    };
    const doubles = [{ ...column('merchant_id'), type: 'DOUBLE' }];
    expect(() => compileJob(bent)).toThrow('sources.shop.tables.lines.shardKey: merchant_id is DOUBLE');
  });

  it('refuses a shard key that is no column', () => {
    const yaml = JOB_YAML.replace('shardKey: merchant_id', 'shardKey: merchantid');
    expect(() => compileJob(input(yaml))).toThrow(
      expect.objectContaining({
        code: 'JOB_INVALID',
        message: expect.stringContaining('did you mean merchant_id?') as string,
      }),
    );
  });
});

describe('the hash of a document', () => {
  it('does not depend on the order of its keys, but on everything else', () => {
    const [document] = compileJob(input(JOB_YAML)).reports;
    if (document === undefined) throw new Error('no report');
    const backwards = Object.fromEntries(Object.entries(document).reverse()) as unknown as CompiledReport;
    expect(specHash(backwards)).toBe(specHash(document));
    expect(specHash({ ...document, sql: 'SELECT 1' })).not.toBe(specHash(document));
    expect(specHash({ ...document, keys: [...document.keys].reverse() })).not.toBe(specHash(document));
    expect(stableJson({ b: [{ d: 1, c: undefined }], a: 'é' })).toBe('{"a":"é","b":[{"d":1}]}');
  });
});

describe('a database reference', () => {
  it('is resolved where it is used', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-secrets-'));
    await writeFile(join(folder, 'url'), 'mysql://a:b@c/d\n');
    const options = { env: { SHOP_URL: 'mysql://x:y@z/w', EMPTY: '' }, baseFolder: folder };
    expect(resolveDatabase({ mysql: { url: { env: 'SHOP_URL' } } }, options)).toEqual({
      kind: 'mysql',
      url: 'mysql://x:y@z/w',
    });
    expect(resolveDatabase({ mysql: { url: { file: 'url' } } }, options)).toMatchObject({
      url: 'mysql://a:b@c/d',
    });
    expect(resolveDatabase({ embedded: { file: 'a/b.db' } }, options)).toEqual({
      kind: 'embedded',
      file: join(folder, 'a/b.db'),
    });
    for (const secret of [{ env: 'EMPTY' }, { env: 'ABSENT' }, { file: 'absent' }]) {
      expect(() => resolveDatabase({ mysql: { url: secret } }, options)).toThrow(
        expect.objectContaining({ code: 'SECRET_MISSING' }),
      );
    }
    await rm(folder, { recursive: true });
  });
});
