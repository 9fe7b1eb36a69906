import { afterEach, expect, test } from 'vitest';
import { isTidemarkError } from '../../src/base/index.ts';
import { eventually } from '../support/eventually.ts';
import { GrpcCluster } from './support/grpc-cluster.ts';

let cluster: GrpcCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

const bytes = (text: string): Uint8Array => Buffer.from(text);

test('three members over sockets and files agree, survive the leader, keep all over a restart', async () => {
  cluster = await GrpcCluster.start(3);
  const first = await cluster.leader();
  const replies = await Promise.all(
    Array.from({ length: 500 }, (_, at) => first.node.propose(bytes(`a${at}`))),
  );
  expect(replies.map(({ reply }) => Buffer.from(reply).toString())).toEqual(replies.map((_, at) => `a${at}`));
  const readAt = await first.node.readIndex();
  expect(readAt).toBeGreaterThanOrEqual(replies.at(-1)?.index ?? Infinity);

  const killedAt = performance.now();
  const { term } = first.node.status();
  await cluster.stopMember(first.id);
  const second = await cluster.leader();
  await second.node.propose(bytes('after the leader'));
  expect(performance.now() - killedAt).toBeLessThan(4_000);
  expect(second.node.status().term).toBeGreaterThan(term);

  await cluster.startMember(first.id);
  await eventually(() => cluster?.running.get(first.id)?.state.texts.length === 501, { withinMs: 10_000 });
  const ids = [...cluster.running.keys()];
  for (const id of ids) await cluster.stopMember(id);
  for (const id of ids) await cluster.startMember(id);
  const third = await cluster.leader();
  await third.node.propose(bytes('after all'));
  const wanted = [...replies.map((_, at) => `a${at}`), 'after the leader', 'after all'];
  await eventually(
    () => [...(cluster?.running.values() ?? [])].every(({ state }) => state.texts.length === wanted.length),
    { withinMs: 10_000 },
  );
  for (const { state, fatal } of cluster.running.values()) {
    expect(state.texts).toEqual(wanted);
    expect(fatal).toEqual([]);
  }
});

test('a follower refuses proposals and names the leader; it answers reads', async () => {
  cluster = await GrpcCluster.start(3);
  const leader = await cluster.leader();
  const follower = await eventually(
    () =>
      [...(cluster?.running.values() ?? [])].find(
        ({ node }) => node.status().leaderId === leader.id && !node.status().leading,
      ) ?? false,
    { withinMs: 5_000 },
  );
  const refused = (error: unknown): boolean =>
    isTidemarkError(error, 'NOT_LEADER') && error.details['leader'] === `client-${leader.id}:1`;
  await expect(follower.node.propose(bytes('x'))).rejects.toSatisfy(refused);
  const { index } = await leader.node.propose(bytes('y'));
  expect(await follower.node.readIndex()).toBeGreaterThanOrEqual(index);
  expect(follower.node.status().appliedIndex).toBeGreaterThanOrEqual(index);
});

test('a single member leads at once and keeps its log', async () => {
  cluster = await GrpcCluster.start(1);
  const only = await cluster.leader(2_000);
  await only.node.propose(bytes('one'));
  await cluster.stopMember(only.id);
  await cluster.startMember(only.id);
  const again = await cluster.leader(2_000);
  await again.node.propose(bytes('two'));
  expect(again.state.texts).toEqual(['one', 'two']);
});
