// A coordinator's consensus and key-value stream over a state machine that does nothing.
import { join } from 'node:path';
import { clusterId, encodeWritten, memberId, systemClock } from '../dist/base/index.js';
import { bindServer, createServer, unary } from '../dist/coordinator/grpc-server.js';
import { serveKeyValues } from '../dist/coordinator/clients/key-value-service.js';
import { createProposer } from '../dist/coordinator/proposer.js';
import { createGrpcPeerTransport, startRaftNode } from '../dist/raft/index.js';
import * as raftDoor from '../dist/raft/index.js';
import { decodeEntry } from '../dist/statemachine/commands/entry.js';
import { encodeItemReply, encodeReplies } from '../dist/statemachine/commands/replies.js';
import { ClientService, KeyValueService, PeerService, insecureCredentials } from '../dist/wire/index.js';

const [number, folder, peers, clients] = process.argv.slice(2);
const peerAddresses = peers.split(',');
const clientAddresses = clients.split(',');
const own = Number(number);
const id = clusterId('0123456789abcdef0123456789abcdef');
const members = peerAddresses.map((peerAddress, n) => ({
  id: memberId(n + 1),
  peerAddress,
  clientAddress: clientAddresses[n],
}));
const log = { info() {}, warn() {}, error() {}, debug() {} };
const credentials = insecureCredentials();

/** Length of the flat list of a batch, from its msgpack header alone. */
function writesIn(batch) {
  const view = new DataView(batch.buffer, batch.byteOffset);
  const head = batch[1];
  return (head < 0xa0 ? head & 0x0f : head === 0xdc ? view.getUint16(2) : view.getUint32(2)) / 3;
}

/** It does nothing: all answers of batches of one size are the same bytes. */
const results = new Map();
function resultsOf(writes) {
  let bytes = results.get(writes);
  if (bytes === undefined) {
    const written = { applied: true, revision: 1, previous: 0 };
    bytes = encodeWritten(Array.from({ length: writes }, () => written));
    results.set(writes, bytes);
  }
  return bytes;
}

let applied = 0;
const reply = ({ index, data }) => {
  applied = index;
  if (data.length === 0) return new Uint8Array(0);
  const items = decodeEntry(data).items.map(({ operations: [operation] }) => {
    if (operation.type !== 'kv.write') return encodeItemReply([{ ok: true, value: { sessionId: index } }]);
    const value = { results: resultsOf(writesIn(operation.writes)) };
    return encodeItemReply([{ ok: true, value }]);
  });
  return encodeReplies(items);
};
const stateMachine = {
  get appliedIndex() {
    return applied;
  },
  apply: async (entries) => entries.map(reply),
  flush: async () => undefined,
};

const transport = createGrpcPeerTransport({
  clusterId: id,
  memberId: memberId(own + 1),
  addressOf: (member) => members[member - 1]?.peerAddress,
  credentials: credentials.peer,
  log,
  clock: systemClock,
});
const peerServer = createServer('peer');
peerServer.addService(PeerService, { ...rest(PeerService), frames: transport.service.frames });
const clientServer = createServer('client');
const parse = (text) => ({ host: '127.0.0.1', port: Number(text.split(':')[1]) });
const logFolder = join(folder, `n${own}`);
await raftDoor.makeRaftFolder?.({ clusterId: id, memberId: memberId(own + 1), folder: logFolder });
const raft = await startRaftNode({
  clusterId: id,
  memberId: memberId(own + 1),
  initialMembers: members,
  folder: logFolder,
  transport,
  stateMachine,
  clock: systemClock,
  log,
  onStatus: () => undefined,
  onFatal: (error) => {
    process.stderr.write(`${String(error?.stack)}\n`);
    process.exit(1);
  },
});
const proposer = createProposer({ raft, clock: systemClock, appliedLogTimeMs: () => 0 });
clientServer.addService(ClientService, {
  ...rest(ClientService),
  openSession: unary(async () => {
    const [result] = await proposer.propose([{ type: 'session.open', v: 1, name: 'bench' }]);
    return { sessionId: BigInt(result.value.sessionId) };
  }),
});
const view = () => ({ keyValues: new Map() });
clientServer.addService(KeyValueService, {
  stream: (call) => serveKeyValues(() => ({ raft, proposer, view }), call),
});
await bindServer(peerServer, parse(peerAddresses[own]), 'peer', credentials.peer);
await bindServer(clientServer, parse(clientAddresses[own]), 'client', credentials.client);

function rest(service) {
  return Object.fromEntries(Object.keys(service).map((method) => [method, () => undefined]));
}
