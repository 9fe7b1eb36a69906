/** The built program writes and reads keys of a cluster of real coordinators. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import { TestCluster } from '../coordinator/cluster-harness.ts';
import { runCli } from './run-cli.ts';

let cluster: TestCluster | undefined;
beforeAll(async () => {
  cluster = await TestCluster.formed(1);
});
afterAll(() => cluster?.stop());

const kv = (verb: string, ...words: string[]) =>
  runCli([
    'kv',
    verb,
    '--endpoints',
    must(cluster, 'cluster').addresses.join(),
    '--key',
    'greeting',
    ...words,
  ]);

it('puts, gets, compares and deletes a key', async () => {
  expect(await kv('get')).toMatchObject({ code: 66, stdout: 'no key greeting in namespace default\n' });
  expect(await kv('put', '--value', 'hello')).toMatchObject({ code: 0, stderr: '' });
  expect(await kv('cas', '--value', 'other')).toMatchObject({ code: 1 });
  expect(await kv('cas', '--value', 'other', '--expected', '1')).toMatchObject({ code: 0 });
  const { stdout } = await kv('get', '--output', 'json');
  expect(JSON.parse(stdout)).toMatchObject({ value: 'other', base64: 'b3RoZXI=', revision: 2, version: 2 });
  expect(await kv('delete')).toMatchObject({ code: 0, stdout: 'greeting deleted\n' });
});
