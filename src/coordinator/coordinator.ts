/**
 * One coordinator process: it locks its folder, listens, and waits until it belongs to a cluster (design
 * sections 2 and 3). From then on it takes part in consensus; whether it leads decides what it answers.
 */
import type { Server } from '@grpc/grpc-js';
import { formatAddress, parseAddress, systemClock, type Address } from '../base/index.ts';
import { createRegistry, startOpsServer, type OpsServer } from '../ops/index.ts';
import { createGrpcPeerTransport } from '../raft/index.ts';
import {
  ClientService,
  ExecutorService,
  KeyValueService,
  PeerService,
  guardStream,
  toServiceError,
} from '../wire/index.ts';
import type {
  ExecutorServer,
  FromExecutor,
  KeyValueServer,
  PeerServer,
  StatusReply,
  ToExecutor,
} from '../wire/index.ts';
import { AuditService } from './clients/audit.ts';
import { createClientService } from './clients/client-service.ts';
import { CommittedMembers } from './members/committed-members.ts';
import { memberRemoved, notInitialised, notReady } from './coded-error.ts';
import { startClusterNode, type ClusterNode } from './cluster-node.ts';
import { checkOwner, openDataFolder, type DataFolder, type ExpectedMember } from './members/data-folder.ts';
import { DigestCalls, digestsReply } from './integrity/digest-calls.ts';
import { redirect } from './executors/executor-service.ts';
import { bindServer, createServer, unary, type BoundServer } from './grpc-server.ts';
import { serveKeyValues } from './clients/key-value-service.ts';
import { livenessChecks, readinessChecks } from './health.ts';
import { writeIdentity, type Identity } from './members/identity.ts';
import { createInitialiser } from './members/initialise.ts';
import { createCoordinatorMetrics, type CoordinatorMetrics } from './metrics.ts';
import { advertised, type CoordinatorOptions, type ListenOptions } from './options.ts';
import { SnapshotService } from './backups/save-snapshot.ts';
import { digestReply, statusReply } from './status.ts';

export interface RunningCoordinator {
  /** As advertised, with the ports that the system chose where 0 was asked. */
  readonly peerAddress: string;
  readonly clientAddress: string;
  /** Undefined if no HTTP server was asked for. */
  readonly httpAddress: string | undefined;
  /** What the Status call answers. */
  status(): StatusReply;
  /** Orderly stop: no new calls, streams redirected, the log closed, the folder unlocked. */
  stop(): Promise<void>;
}

/** Running calls get this long when the coordinator stops. */
const CLOSE_GRACE_MS = 500;

/**
 * Starts a coordinator on its folder.
 * @throws TidemarkError `DATA_IN_USE`, `DATA_OF_OTHER_CLUSTER`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`,
 * `PORT_IN_USE`, `CONFIG_INVALID`, `STORAGE_FAILED`. Nothing is left listening or locked then.
 */
export async function startCoordinator(options: CoordinatorOptions): Promise<RunningCoordinator> {
  const folder = await openDataFolder(options.dataFolder);
  const process = new CoordinatorProcess(options, folder);
  try {
    await process.start();
  } catch (error) {
    await process.stop();
    throw error;
  }
  return process;
}

class CoordinatorProcess implements RunningCoordinator {
  readonly #options: CoordinatorOptions;
  readonly #folder: DataFolder;
  readonly #metrics: CoordinatorMetrics;
  readonly #servers: BoundServer[] = [];
  #transport: ReturnType<typeof createGrpcPeerTransport> | undefined;
  #identity: Identity | undefined;
  #node: ClusterNode | undefined;
  #digestCalls: DigestCalls | undefined;
  #ops: OpsServer | undefined;
  #own: ExpectedMember = { peerAddress: '', clientAddress: '' };
  #stopping: Promise<void> | undefined;
  #removed: Promise<void> | undefined;

  constructor(options: CoordinatorOptions, folder: DataFolder) {
    this.#options = options;
    this.#folder = folder;
    this.#identity = folder.identity;
    this.#metrics = createCoordinatorMetrics(createRegistry('coordinator'), () => this.#node);
  }

  get peerAddress(): string {
    return this.#own.peerAddress;
  }

  get clientAddress(): string {
    return this.#own.clientAddress;
  }

  get httpAddress(): string | undefined {
    return this.#ops === undefined ? undefined : formatAddress(this.#ops.address);
  }

  status(): StatusReply {
    return statusReply({
      version: this.#options.version,
      own: this.#own,
      identity: this.#identity,
      node: this.#node,
    });
  }

  async start(): Promise<void> {
    const { peer, client, log } = this.#options;
    const peerServer = createServer('peer');
    const clientServer = createServer('client');
    // Before the ports are bound: from then on whoever calls finds every method.
    this.#addServices(peerServer, clientServer);
    this.#own = {
      peerAddress: await this.#bind(peerServer, peer, 'peer'),
      clientAddress: await this.#bind(clientServer, client, 'client'),
    };
    const identity = this.#identity;
    if (identity !== undefined) checkOwner(this.#folder.path, identity, this.#own);
    await this.#startOps();
    if (identity !== undefined) await this.#begin(identity);
    else log.info({ ...this.#own }, 'waiting for cluster init');
    log.info({ ...this.#own, http: this.httpAddress }, 'coordinator started');
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopParts();
    return this.#stopping;
  }

  async #stopParts(): Promise<void> {
    // Consensus first: executors and clients are told where to go while the ports are still open.
    await this.#node?.stop();
    this.#digestCalls?.close();
    await this.#transport?.close();
    await Promise.all(this.#servers.map((server) => server.close(CLOSE_GRACE_MS)));
    await this.#ops?.close();
    await this.#folder.close();
  }

  async #bind(server: Server, listen: ListenOptions, what: 'peer' | 'client'): Promise<string> {
    const address = parseAddress(listen.listen, `${what} listen address`);
    const bound = await bindServer(server, address, what, this.#options.credentials[what]);
    this.#servers.push(bound);
    return advertised(listen, bound.address, what);
  }

  #addServices(peerServer: Server, clientServer: Server): void {
    const initialiser = createInitialiser({
      folder: this.#folder.path,
      own: () => this.#own,
      credentials: this.#options.credentials,
      log: this.#options.log.child({ component: 'init' }),
      identity: () => this.#identity,
      begin: (identity) => this.#beginOrEnd(identity),
    });
    const peers: PeerServer = {
      frames: (call, callback) => {
        if (this.#transport !== undefined) this.#transport.service.frames(call, callback);
        else callback(toServiceError(notInitialised()));
      },
      admit: unary((request, call) =>
        initialiser.admit(request, (member) => {
          this.#options.credentials.peer.checkCaller(call, member);
        }),
      ),
      join: unary((request) => initialiser.join(request)),
      digests: unary((request) => {
        const { identity, digests } = this.#cluster();
        return digestsReply(request, identity, digests());
      }),
    };
    const executors: ExecutorServer = {
      connect: (call) => {
        if (this.#node !== undefined) this.#node.serve(call);
        else turnAway(call);
      },
    };
    peerServer.addService(PeerService, peers);
    clientServer.addService(ExecutorService, executors);
    const keyValues: KeyValueServer = {
      stream: (call) => {
        serveKeyValues(() => this.#cluster(), call);
      },
    };
    clientServer.addService(KeyValueService, keyValues);
    const snapshots = new SnapshotService(() => this.#cluster(), this.#options.version);
    const audits = new AuditService(() => this.#cluster());
    clientServer.addService(
      ClientService,
      createClientService({
        status: () => this.status(),
        init: (request) => initialiser.init(request),
        digest: () => digestReply(this.#cluster()),
        saveSnapshot: (call) => {
          snapshots.serve(call);
        },
        audit: (call) => {
          audits.serve(call);
        },
        cluster: () => this.#cluster(),
      }),
    );
  }

  async #startOps(): Promise<void> {
    const { http } = this.#options;
    if (http === undefined) return;
    const listen: Address = parseAddress(http.listen, 'http listen address');
    this.#ops = await startOpsServer({
      listen,
      livez: livenessChecks(),
      readyz: readinessChecks(() => this.#node?.raft.status()),
      registry: this.#metrics.registry,
    });
  }

  #cluster(): ClusterNode {
    if (this.#node !== undefined) return this.#node;
    throw this.#identity === undefined ? notInitialised() : notReady();
  }

  /** After the identity is written this node is a member: if it cannot take part, the process must end. */
  async #beginOrEnd(identity: Identity): Promise<void> {
    try {
      await this.#begin(identity);
    } catch (error) {
      this.#options.onFatal(error);
      throw error;
    }
  }

  /** Writes down that this member is none any more, so that its folder never votes again; then it ends. */
  async #endRemoved(identity: Identity): Promise<void> {
    const { onFatal } = this.#options;
    try {
      await writeIdentity(this.#folder.path, { ...identity, started: true, removed: true });
    } catch (error) {
      onFatal(error);
      return;
    }
    onFatal(memberRemoved(identity));
  }

  /** Joins the cluster that the identity names. */
  async #begin(identity: Identity): Promise<void> {
    this.#identity = identity;
    const clock = this.#options.clock ?? systemClock;
    const addresses = new Map(identity.members.map((member) => [member.id, member.peerAddress]));
    const committed = new CommittedMembers(() => this.#node?.raft.status(), clock);
    this.#transport = createGrpcPeerTransport({
      clusterId: identity.clusterId,
      memberId: identity.memberId,
      ownAddress: this.#own.peerAddress,
      addressOf: (id) => addresses.get(id),
      introduced: identity.joined ? [...addresses.keys()] : [],
      isRemoved: (id) => committed.isRemoved(id),
      credentials: this.#options.credentials.peer,
      log: this.#options.log.child({ component: 'transport' }),
      clock,
    });
    const digestCalls = new DigestCalls(identity.clusterId, this.#options.credentials.peer);
    this.#digestCalls = digestCalls;
    this.#node = await startClusterNode({
      identity,
      folder: this.#folder,
      transport: this.#transport,
      credentials: this.#options.credentials,
      clock,
      log: this.#options.log,
      scheduler: this.#options.scheduler ?? {},
      onOutcome: this.#metrics.onOutcome,
      askDigests: (member) => digestCalls.ask(member),
      onRemoved: () => {
        this.#removed ??= this.#endRemoved(identity);
      },
      onFatal: this.#options.onFatal,
    });
    this.#options.log.info(
      { cluster: identity.clusterId, member: identity.memberId },
      'taking part in the cluster',
    );
  }
}

/** An executor may be started before the cluster is: it is asked to come again. */
function turnAway(call: Parameters<ClusterNode['serve']>[0]): void {
  const stream = guardStream<FromExecutor, ToExecutor>(call, {
    onMessage: () => undefined,
    onClosed: () => undefined,
  });
  stream.write({ body: redirect(undefined) });
  stream.end();
}
