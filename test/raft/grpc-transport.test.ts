import { createServer, type AddressInfo } from 'node:net';
import { Server } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import {
  LIMITS,
  clusterId,
  memberId,
  must,
  systemClock,
  type ClusterId,
  type MemberId,
} from '../../src/base/index.ts';
import { createGrpcPeerTransport, type GrpcPeerTransport, type Member } from '../../src/raft/index.ts';
import { PeerClient, PeerService, insecureCredentials, type PeerServer } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { rule } from '../support/rule.ts';
import { DeathWatch } from '../../src/raft/grpc-transport/death-watch.ts';
import { encodeHello } from '../../src/raft/grpc-transport/hello.ts';
import { PeerLink } from '../../src/raft/grpc-transport/peer-link.ts';
import { CLUSTER, quiet } from './support/grpc-cluster.ts';

const OTHER = clusterId('ffffffffffffffffffffffffffffffff');

interface Side {
  readonly transport: GrpcPeerTransport;
  readonly server: Server;
  readonly received: string[];
  readonly warnings: unknown[];
  /** Streams that were opened to this side. */
  readonly greeted: unknown[];
  readonly port: number;
}

const open: Side[] = [];
const addresses = new Map<MemberId, string>();
const removed = new Set<number>();

afterEach(async () => {
  for (const side of open.splice(0)) await close(side);
  addresses.clear();
  removed.clear();
});

async function close({ transport, server }: Side): Promise<void> {
  await transport.close();
  server.forceShutdown();
}

async function start(
  id: number,
  cluster: ClusterId = CLUSTER,
  port = 0,
  introduced: readonly MemberId[] = [],
): Promise<Side> {
  const credentials = insecureCredentials().peer;
  const warnings: unknown[] = [];
  const received: string[] = [];
  const greeted: unknown[] = [];
  let own = '';
  const transport = createGrpcPeerTransport({
    clusterId: cluster,
    memberId: memberId(id),
    addressOf: (peer) => addresses.get(peer),
    introduced,
    isRemoved: (peer) => removed.has(peer),
    get ownAddress() {
      return own;
    },
    credentials,
    clock: systemClock,
    log: { info: () => undefined, warn: (fields) => warnings.push(fields['code']) },
  });
  transport.onFrame((from, frame) => received.push(`${from}:${Buffer.from(frame).toString()}`));
  const server = new Server();
  const service: PeerServer = {
    frames: (call, callback) => {
      greeted.push(call);
      transport.service.frames(call, callback);
    },
    admit: (_call, callback) => {
      callback(null, { format: 1 });
    },
    join: (_call, callback) => {
      callback(null, { format: 1 });
    },
    digests: (_call, callback) => {
      callback(null, { format: 1, digests: [] });
    },
  };
  server.addService(PeerService, service);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, credentials.server, (error, at) => {
      if (error === null) resolve(at);
      else reject(error);
    });
  });
  own = `127.0.0.1:${bound}`;
  addresses.set(memberId(id), own);
  const side = { transport, server, received, warnings, greeted, port: bound };
  open.push(side);
  return side;
}

const send = (side: Side, to: number, text: string): void => {
  side.transport.send(memberId(to), Buffer.from(text));
};

test('frames arrive in order and under the name of who sent them', async () => {
  const [one, two] = [await start(1), await start(2)];
  const texts = Array.from({ length: 300 }, (_, at) => `f${at}`);
  for (const text of texts) send(one, 2, text);
  send(two, 1, 'back');
  await eventually(() => two.received.length === texts.length && one.received.length === 1, {
    withinMs: 10_000,
  });
  expect(two.received).toEqual(texts.map((text) => `1:${text}`));
  expect(one.received).toEqual(['2:back']);
});

test('snapshots travel beside the other frames: neither stream ends the other', async () => {
  const [one, two] = [await start(1), await start(2)];
  for (let round = 0; round < 3; round++) {
    send(one, 2, `log ${round}`);
    one.transport.sendBulk?.(memberId(2), Buffer.from(`bulk ${round}`));
    await eventually(() => two.received.length === 2 * (round + 1), { withinMs: 10_000 });
  }
  expect([...two.received].sort()).toEqual([
    ...[0, 1, 2].map((round) => `1:bulk ${round}`),
    ...[0, 1, 2].map((round) => `1:log ${round}`),
  ]);
  expect(one.warnings).toEqual([]);
});

test('a peer that was away is dialled again', async () => {
  const [one, two] = [await start(1), await start(2)];
  send(one, 2, 'before');
  await eventually(() => two.received.length === 1, { withinMs: 10_000 });
  open.splice(open.indexOf(two), 1);
  await close(two);
  await eventually(
    () => {
      send(one, 2, 'into nothing');
      return one.warnings.length > 0;
    },
    { withinMs: 10_000 },
  );
  const again = await start(2, CLUSTER, two.port);
  await eventually(
    () => {
      send(one, 2, 'after');
      return again.received.includes('1:after');
    },
    { withinMs: 10_000 },
  );
});

test('a member is connected before there is anything to say, and again after it was away', async () => {
  const member = (id: number): Member => ({ id: memberId(id), peerAddress: '', clientAddress: '' });
  const two = await start(2);
  const one = await start(1);
  one.transport.setMembers?.([member(1), member(2)]);
  await eventually(() => two.greeted.length === 1, { withinMs: 10_000 });
  open.splice(open.indexOf(two), 1);
  await close(two);
  const again = await start(2, CLUSTER, two.port);
  await eventually(() => again.greeted.length === 1, { withinMs: 10_000 });
  one.transport.setMembers?.([member(1)]);
  open.splice(open.indexOf(again), 1);
  await close(again);
  const last = await start(2, CLUSTER, two.port);
  send(last, 1, 'nobody dials this member');
  await eventually(() => one.received.length === 1, { withinMs: 10_000 });
  expect(last.greeted).toEqual([]);
});

rule(
  'raft.incarnationIgnored',
  'a peer started again so quickly that it answers has ended before',
  async () => {
    const one = await start(1);
    const gone: number[] = [];
    one.transport.onPeerGone?.((id) => gone.push(id));
    const hello = { clusterId: CLUSTER, from: memberId(2), to: memberId(1), incarnation: 'first' };
    const streams = [hello, { ...hello, lane: 'bulk' } as const, { ...hello, incarnation: 'second' }];
    const clients = streams.map(
      () => new PeerClient(`127.0.0.1:${one.port}`, insecureCredentials().peer.channel),
    );
    addresses.set(memberId(2), `127.0.0.1:${one.port}`);
    try {
      for (const [at, of] of streams.entries()) {
        const call = must(clients[at], 'a client').frames(() => undefined);
        call.write({ payload: Buffer.from(encodeHello(of)) });
        call.write({ payload: Buffer.from(`${at}`) });
        await eventually(() => one.received.length === at + 1, { withinMs: 5_000 });
        expect(gone).toEqual(at === 2 ? [2] : []);
      }
    } finally {
      for (const client of clients) client.close();
      await close(must(open.pop(), 'a side'));
    }
  },
);

test('a peer of another cluster, or not the member meant, is turned away and hears why [R54]', async () => {
  const one = await start(1);
  const foreign = await start(2, OTHER);
  send(one, 2, 'secret');
  await eventually(() => one.warnings.includes('CLUSTER_MISMATCH'), { withinMs: 10_000 });
  const three = await start(3);
  addresses.set(memberId(2), `127.0.0.1:${three.port}`);
  await eventually(
    () => {
      send(one, 2, 'secret');
      return three.warnings.includes('MEMBER_MISMATCH');
    },
    { withinMs: 10_000 },
  );
  expect([...foreign.received, ...three.received]).toEqual([]);
});

test('what waits for a peer that cannot be reached is bounded', () => {
  const link = new PeerLink({
    to: memberId(2),
    address: () => '127.0.0.1:1',
    credentials: insecureCredentials().peer.channel,
    hello: Buffer.from('hello'),
    clock: systemClock,
    log: quiet,
    onClosed: () => undefined,
    onRemoved: () => undefined,
  });
  const frame = Buffer.alloc(LIMITS.peerFrameBytesMax);
  for (let at = 0; at < 64; at++) link.send(frame);
  expect(link.queuedBytes).toBeGreaterThan(0);
  expect(link.queuedBytes).toBeLessThanOrEqual(LIMITS.peerQueueBytesMax);
  link.close();
  expect(link.queuedBytes).toBe(0);
});

test('a peer whose process has ended is told from one that only closed its streams', async () => {
  const listener = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  const gone: number[] = [];
  let connected = true;
  const watch = new DeathWatch({
    addressOf: () => `127.0.0.1:${port}`,
    connected: () => connected,
    onGone: (id) => gone.push(id),
  });
  let probes = 0;
  listener.on('connection', () => probes++);
  watch.streamClosed(memberId(2));
  connected = false;
  // The address still answers: it is asked, once, and nobody is declared gone.
  watch.streamClosed(memberId(2));
  watch.streamClosed(memberId(2));
  await eventually(() => probes === 1, { withinMs: 5_000 });
  await new Promise((resolve) => listener.close(resolve));
  await eventually(
    () => {
      watch.streamClosed(memberId(2));
      return gone.length > 0;
    },
    { withinMs: 5_000 },
  );
  expect([probes, gone]).toEqual([1, [2]]);
});

rule('raft.removedMemberHeard', 'a member that was removed is heard no more, and told so', async () => {
  removed.clear();
  for (const side of open.splice(0)) await close(side);
  const [one, two] = [await start(1), await start(2)];
  let told = 0;
  two.transport.onRemoved?.(() => (told += 1));
  send(two, 1, 'as a member');
  await eventually(() => one.received.length === 1, { withinMs: 5_000 });
  // Committed while its stream is open: the next frame ends the stream, and so does every hello after that.
  removed.add(2);
  await eventually(
    () => {
      send(two, 1, 'as none');
      return told > 1;
    },
    { withinMs: 3_000 },
  );
  expect(one.received).toEqual(['2:as a member']);
});

const member = (id: number): Member => {
  return { id: memberId(id), peerAddress: must(addresses.get(memberId(id)), 'address'), clientAddress: '' };
};

rule('raft.removedLearnerNotTold', 'a removed member that sends nothing is told so, too', async () => {
  removed.clear();
  for (const side of open.splice(0)) await close(side);
  const [one, two] = [await start(1), await start(2)];
  let told = 0;
  two.transport.onRemoved?.(() => (told += 1));
  two.transport.setMembers?.([member(1), member(2)]);
  send(two, 1, 'the last that it sends');
  await eventually(() => one.received.length === 1, { withinMs: 5_000 });
  removed.add(2);
  one.transport.setMembers?.([member(1)]);
  await eventually(() => told > 0, { withinMs: 1_000 });
});

rule(
  'raft.removedLearnerNotTold',
  'a removal that becomes known after the hello was taken, without another sign, ends the stream',
  async () => {
    removed.clear();
    for (const side of open.splice(0)) await close(side);
    const [one, two] = [await start(1), await start(2)];
    let told = 0;
    two.transport.onRemoved?.(() => (told += 1));
    two.transport.setMembers?.([member(1), member(2)]);
    await eventually(() => one.greeted.length > 0, { withinMs: 5_000 });
    removed.add(2);
    await eventually(() => told > 0, { withinMs: 3_000 });
  },
);

rule(
  'raft.strangerAsksNobody',
  'a member that was removed before its log named anybody hears so',
  async () => {
    for (const side of open.splice(0)) await close(side);
    const one = await start(1);
    removed.add(2);
    const two = await start(2, CLUSTER, 0, [memberId(1), memberId(2)]);
    let told = 0;
    two.transport.onRemoved?.(() => (told += 1));
    two.transport.setMembers?.([]);
    await eventually(() => told > 0, { withinMs: 1_000 });
    expect(one.received).toEqual([]);
  },
);

test('a member that the log does not name yet is answered where it says that it listens', async () => {
  const [one, nine] = [await start(1), await start(9)];
  addresses.delete(memberId(9));
  send(nine, 1, 'unheard of');
  await eventually(() => one.received.length === 1, { withinMs: 5_000 });
  send(one, 9, 'heard');
  await eventually(() => nine.received.length === 1, { withinMs: 5_000 });
});
