import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import { validateJob } from '../../src/executor/validate-job.ts';
import { jobYaml } from './shop.ts';

const WATCH = { clock: systemClock, log: { info: () => undefined, warn: () => undefined } };

const withStores = (place: 'embedded' | 'mysql', stores: string): string =>
  jobYaml(place).replace(/^ {2}shard1: .*$/m, stores);

describe('validating a job', () => {
  it('refuses two shards in one file, however it is named', async () => {
    const stores = '  a: {embedded: {file: store.db}}\n  b: {embedded: {file: ./store.db}}';
    await expect(
      validateJob({ env: {}, baseFolder: '/nowhere' }, WATCH, withStores('embedded', stores)),
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
    const refused = validateJob({ env, baseFolder: '/nowhere' }, WATCH, withStores('mysql', stores));
    await expect(refused).rejects.toMatchObject({
      code: 'TOPOLOGY_INVALID',
      message: 'stores.b leads to the same database as stores.a.replicas.0',
    });
    await expect(refused).rejects.not.toThrow('secret');
  });
});
