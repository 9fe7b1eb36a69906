/** Several coordinators in one process, over real gRPC and real LevelDB, on free ports of the loopback. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from '../../src/base/index.ts';
import { connect, type ClientCredentials, type TidemarkClient } from '../../src/client/index.ts';
import { startCoordinator, type RunningCoordinator } from '../../src/coordinator/index.ts';
import type { SchedulerConfig } from '../../src/scheduler/index.ts';
import { createLogger } from '../../src/ops/index.ts';
import { insecureCredentials, type Credentials } from '../../src/wire/index.ts';
import { ask } from '../support/broker.ts';
import { eventually } from '../support/eventually.ts';

interface Slot {
  readonly dataFolder: string;
  running: RunningCoordinator | undefined;
  /** Kept over restarts: the identity names them. */
  peerAddress: string;
  clientAddress: string;
}

export interface ClusterCredentials {
  readonly of: (position: number) => Credentials;
  readonly client: ClientCredentials;
}

export class TestCluster {
  readonly folder: string;
  readonly slots: Slot[];
  /** What any coordinator reported as fatal. */
  readonly fatal: unknown[] = [];
  readonly #clients: TidemarkClient[] = [];
  #credentials: ClusterCredentials | undefined;
  #scheduler: Partial<SchedulerConfig> = {};

  private constructor(folder: string, size: number) {
    this.folder = folder;
    this.slots = Array.from({ length: size }, (_, position) => ({
      dataFolder: join(folder, `c${position + 1}`),
      running: undefined,
      peerAddress: '',
      clientAddress: '',
    }));
  }

  /** Starts `size` coordinators that belong to no cluster yet. */
  static async start(
    size: number,
    credentials?: ClusterCredentials,
    scheduler: Partial<SchedulerConfig> = {},
  ): Promise<TestCluster> {
    const cluster = new TestCluster(await mkdtemp(join(tmpdir(), 'tidemark-cluster-')), size);
    cluster.#credentials = credentials;
    cluster.#scheduler = scheduler;
    await Promise.all(cluster.slots.map((_, position) => cluster.startOne(position)));
    return cluster;
  }

  /** Starts `size` coordinators, and one more that belongs to no cluster: the last position. */
  static async formedWithSpare(size: number, credentials?: ClusterCredentials): Promise<TestCluster> {
    const cluster = await TestCluster.formed(size, credentials);
    await cluster.addSpare();
    return cluster;
  }

  /** Starts a coordinator that belongs to no cluster, at a new position. */
  async addSpare(): Promise<number> {
    const position = this.slots.length;
    const dataFolder = join(this.folder, `c${position + 1}`);
    this.slots.push({ dataFolder, running: undefined, peerAddress: '', clientAddress: '' });
    await this.startOne(position);
    return position;
  }

  /** The addresses that a coordinator advertises. */
  advertised(position: number): { readonly peerAddress: string; readonly clientAddress: string } {
    const { peerAddress, clientAddress } = must(this.slots[position], 'slot');
    return { peerAddress, clientAddress };
  }

  /** Starts `size` coordinators, makes a cluster of them and waits for a leader. */
  static async formed(
    size: number,
    credentials?: ClusterCredentials,
    scheduler: Partial<SchedulerConfig> = {},
  ): Promise<TestCluster> {
    const cluster = await TestCluster.start(size, credentials, scheduler);
    await cluster.client().init(cluster.addresses);
    await cluster.leader();
    return cluster;
  }

  get addresses(): string[] {
    return this.slots.map(({ clientAddress }) => clientAddress);
  }

  at(position: number): RunningCoordinator {
    return must(this.slots[position]?.running, `coordinator ${position}`);
  }

  async startOne(
    position: number,
    options: { readonly dataFolder?: string } = {},
  ): Promise<RunningCoordinator> {
    const slot = must(this.slots[position], 'slot');
    if (slot.peerAddress === '') slot.peerAddress = await ask({ want: 'address' });
    if (slot.clientAddress === '') slot.clientAddress = await ask({ want: 'address' });
    const running = await startCoordinator({
      dataFolder: options.dataFolder ?? slot.dataFolder,
      peer: { listen: slot.peerAddress },
      client: { listen: slot.clientAddress },
      http: { listen: '127.0.0.1:0' },
      credentials: this.#credentials?.of(position) ?? insecureCredentials(),
      log: createLogger({ role: `c${position + 1}`, level: 'silent' }),
      scheduler: this.#scheduler,
      version: 'test',
      onFatal: (error) => {
        this.fatal.push(error);
      },
    });
    slot.running = running;
    return running;
  }

  async stopOne(position: number): Promise<void> {
    const slot = must(this.slots[position], 'slot');
    await slot.running?.stop();
    slot.running = undefined;
  }

  /**
   * Waits until one coordinator leads, has proved it, and all running members follow it; returns its
   * position.
   */
  leader(): Promise<number> {
    return eventually(
      async () => {
        const statuses = this.slots.map(({ running }) => running?.status());
        const position = statuses.findIndex((status) => status?.role === 'leader');
        const id = statuses[position]?.memberId;
        const members = statuses.filter((status) => status !== undefined && status.clusterId !== '');
        const agreed = members.every((status) => status?.leaderId === id);
        if (position < 0 || !agreed) return false;
        const http = must(this.at(position).httpAddress, 'http');
        return (await fetch(`http://${http}/readyz`)).ok ? { position } : false;
      },
      { withinMs: 10_000, what: 'one leader known to all' },
    ).then(({ position }) => position);
  }

  client(
    options: { readonly endpoints?: readonly string[]; readonly deadlineMs?: number } = {},
  ): TidemarkClient {
    const client = connect({
      endpoints: options.endpoints ?? this.addresses,
      credentials: this.#credentials?.client ?? insecureCredentials(),
      deadlineMs: options.deadlineMs ?? 10_000,
    });
    this.#clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.slots.map((_, position) => this.stopOne(position)));
    await rm(this.folder, { recursive: true });
  }
}
