import { afterEach, describe, expect, it } from 'vitest';
import { must } from '../../src/base/index.ts';
import { Client, credentials } from '@grpc/grpc-js';
import {
  KeyValueService,
  decodeKeyValueReplies,
  encodeKeyValueRequests,
  type KeyValueReply,
} from '../../src/wire/index.ts';
import { TestCluster } from './cluster-harness.ts';

let cluster: TestCluster | undefined;

afterEach(async () => {
  const { fatal } = must(cluster, 'cluster');
  await cluster?.stop();
  cluster = undefined;
  expect(fatal).toEqual([]);
});

describe('keys and values of a cluster of three', () => {
  it('are written, compared, read and deleted through any endpoint', async () => {
    cluster = await TestCluster.formed(3);
    const leader = await cluster.leader();
    const endpoints = [must(cluster.addresses[(leader + 1) % 3], 'a follower')];
    const { kv } = cluster.client({ endpoints });
    expect(await kv.get('a')).toBeUndefined();
    const { revision } = await kv.put('a', 'one');
    expect(await kv.get('a')).toEqual({ value: Buffer.from('one'), revision, version: 1 });
    expect(await kv.get('a', { namespace: 'other' })).toBeUndefined();
    expect(await kv.cas('a', { expected: 0, value: 'no' })).toEqual({ applied: false, revision });
    expect(await kv.cas('a', { expected: revision, value: 'two' })).toMatchObject({ applied: true });
    expect(await kv.delete('a')).toEqual({ existed: true });
    expect(await kv.delete('a')).toEqual({ existed: false });
  });

  it('are read at a follower as the leader last acknowledged them', async () => {
    cluster = await TestCluster.formed(3);
    const leader = await cluster.leader();
    const { kv } = cluster.client();
    const follower = must(cluster.addresses[(leader + 1) % 3], 'a follower');
    for (let round = 0; round < 20; round++) {
      const { revision } = await kv.put('a', `${round}`);
      expect(await readOnceAt(follower, 'default/a')).toMatchObject({
        kind: 'found',
        values: [{ revision }],
      });
    }
  });

  it('take each write once while leaders stop, and lose none [R65]', async () => {
    cluster = await TestCluster.formed(3);
    const { kv } = cluster.client();
    const last: Record<number, number> = {};
    const writers = Array.from({ length: 40 }, async (_, n) => {
      for (let round = 0; round < 10; round++) {
        const { applied } = await kv.cas(`k${n}`, { expected: last[n] ?? 0, value: `${round}` });
        if (!applied) throw new Error(`write ${round} of key ${n} took effect twice, or another did`);
        last[n] = must(await kv.get(`k${n}`), 'key').revision;
        if (n === 0 && round === 3) await must(cluster, 'cluster').stopOne(await must(cluster, 'c').leader());
      }
    });
    await Promise.all(writers);
    const found = await Promise.all(writers.map((_, n) => kv.get(`k${n}`)));
    expect(found.map((one) => [one?.version, Buffer.from(one?.value ?? []).toString()])).toEqual(
      writers.map(() => [10, '9']),
    );
  });
});

/** Asks exactly this coordinator, whoever leads. */
function readOnceAt(address: string, path: string): Promise<KeyValueReply | undefined> {
  const { stream } = KeyValueService;
  const client = new Client(address, credentials.createInsecure());
  const call = client.makeBidiStreamRequest(stream.path, stream.requestSerialize, stream.responseDeserialize);
  return new Promise((resolve, reject) => {
    call.on('error', reject);
    call.on('data', ({ payload }: { payload: Uint8Array }) => {
      call.end();
      client.close();
      resolve(decodeKeyValueReplies(payload)[0]);
    });
    call.write({ payload: Buffer.from(encodeKeyValueRequests([{ kind: 'read', id: 1, paths: [path] }])) });
  });
}
