import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server } from '@grpc/grpc-js';
import { clusterId, memberId, must, systemClock, type MemberId } from '../../../src/base/index.ts';
import {
  createGrpcPeerTransport,
  startRaftNode,
  type GrpcPeerTransport,
  type Member,
  type RaftNode,
  type RaftStatus,
} from '../../../src/raft/index.ts';
import { PeerService, insecureCredentials, type PeerServer } from '../../../src/wire/index.ts';
import { ask } from '../../support/broker.ts';
import { eventually } from '../../support/eventually.ts';
import { EchoStateMachine } from './echo-state-machine.ts';

export const CLUSTER = clusterId('0123456789abcdef0123456789abcdef');

export const quiet = { info: () => undefined, warn: () => undefined };

export interface RunningMember {
  readonly id: MemberId;
  readonly node: RaftNode;
  readonly transport: GrpcPeerTransport;
  readonly server: Server;
  readonly state: EchoStateMachine;
  readonly statuses: RaftStatus[];
  readonly fatal: unknown[];
}

/** Members of one cluster in this process, over real sockets and real files. */
export class GrpcCluster {
  readonly members: readonly Member[];
  readonly running = new Map<MemberId, RunningMember>();
  readonly #folder: string;
  readonly #addresses = new Map<MemberId, string>();

  private constructor(folder: string, size: number) {
    this.#folder = folder;
    this.members = Array.from({ length: size }, (_, at) => ({
      id: memberId(at + 1),
      peerAddress: '',
      clientAddress: `client-${at + 1}:1`,
    }));
  }

  static async start(size: number): Promise<GrpcCluster> {
    const cluster = new GrpcCluster(await mkdtemp(join(tmpdir(), 'tidemark-raft-')), size);
    for (const { id } of cluster.members) await cluster.startMember(id);
    return cluster;
  }

  folderOf(id: MemberId): string {
    return join(this.#folder, `member-${id}`);
  }

  async startMember(id: MemberId): Promise<RunningMember> {
    const credentials = insecureCredentials().peer;
    const transport = createGrpcPeerTransport({
      clusterId: CLUSTER,
      memberId: id,
      addressOf: (peer) => this.#addresses.get(peer),
      credentials,
      clock: systemClock,
      log: quiet,
    });
    const server = new Server();
    const service: PeerServer = {
      frames: (call, callback) => {
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
    await this.#listen(server, id);
    const state = new EchoStateMachine();
    const statuses: RaftStatus[] = [];
    const fatal: unknown[] = [];
    const node = await startRaftNode({
      clusterId: CLUSTER,
      memberId: id,
      initialMembers: this.members,
      folder: this.folderOf(id),
      transport,
      stateMachine: state,
      clock: systemClock,
      log: quiet,
      onStatus: (status) => statuses.push(status),
      onFatal: (error) => fatal.push(error),
    });
    const member = { id, node, transport, server, state, statuses, fatal };
    this.running.set(id, member);
    return member;
  }

  async stopMember(id: MemberId): Promise<void> {
    const member = must(this.running.get(id), `member ${id}`);
    this.running.delete(id);
    await member.node.stop();
    await member.transport.close();
    member.server.forceShutdown();
  }

  leader(withinMs = 10_000): Promise<RunningMember> {
    return eventually(
      () => {
        const leaders = [...this.running.values()].filter(({ node }) => node.status().leading);
        return leaders.length === 1 && must(leaders[0], 'leader');
      },
      { withinMs, what: 'one leader' },
    );
  }

  async stop(): Promise<void> {
    for (const id of [...this.running.keys()]) await this.stopMember(id);
    await rm(this.#folder, { recursive: true });
  }

  async #listen(server: Server, id: MemberId): Promise<void> {
    const address = this.#addresses.get(id) ?? (await ask({ want: 'address' }));
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(address, insecureCredentials().peer.server, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    this.#addresses.set(id, address);
  }
}
