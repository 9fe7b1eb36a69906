/**
 * The client of a cluster: typed methods, one per call of the client service, with retries and sessions
 * behind them.
 */
import {
  LIMITS,
  TidemarkError,
  isTidemarkError,
  systemClock,
  toTidemarkError,
  type Clock,
} from '../base/index.ts';
import { ClientService, INIT_FORMAT, insecureCredentials } from '../wire/index.ts';
import type {
  AppliedItem,
  AuditPiece,
  ClientCredentials,
  ExecutorInfo,
  InitReply,
  OpenSessionReply,
  OpenSessionRequest,
  ReportInfo,
  SourceInfo,
  TaskInfo,
  WindowInfo,
} from '../wire/index.ts';
import { readAudit } from './audit.ts';
import { Endpoints } from './endpoints.ts';
import { createKeyValueClient, type KeyValueClient } from './key-value.ts';
import { KeyValueLink } from './key-value-link.ts';
import { callLeader, type LeaderCall } from './leader-call.ts';
import { askDigests, askMembers, transferLeader, type MemberDigest, type Members } from './members.ts';
import { createMembershipClient, type MembershipClient } from './membership.ts';
import { askEndpoints, type EndpointStatus } from './no-leader.ts';
import { downloadSnapshot } from './save-snapshot.ts';

export interface ConnectOptions {
  /** Client addresses of coordinators; one that answers is enough. */
  readonly endpoints: readonly string[];
  /** @default insecureCredentials() */
  readonly credentials?: ClientCredentials;
  /** Milliseconds that one call may take in all, retries included. @default LIMITS.clientDeadlineMs */
  readonly deadlineMs?: number;
  /** Names the session in the cluster's state. @default 'client' */
  readonly name?: string;
  /** @default the system's clock */
  readonly clock?: Clock;
}

export interface TidemarkClient {
  /** Begins a cluster of the coordinators at these client addresses, by asking the first endpoint. */
  init(clientAddresses: readonly string[]): Promise<InitReply>;
  /** Asks every endpoint about itself; those that do not answer are listed with their error. */
  status(): Promise<EndpointStatus[]>;
  /** Asks every member about itself, also those that are not among the endpoints. */
  members(): Promise<Members>;
  /** Asks every member for the digest of its state, and whether it knows of one that differs. */
  digests(): Promise<MemberDigest[]>;
  /** Hands the lead to a member, or to the nearest one; returns who leads then, 0n if not known yet. */
  transferLeader(member?: number): Promise<bigint>;
  /**
   * Declares a job. Sent again after a lost answer it takes effect once. `dryRun` only says what it would do.
   */
  apply(jobYaml: string, options?: { readonly dryRun?: boolean }): Promise<AppliedItem[]>;
  listSources(): Promise<SourceInfo[]>;
  listReports(): Promise<ReportInfo[]>;
  /** Newest first. `source` '' means all; `limit` 0 the server's default. */
  listWindows(filter?: { readonly source?: string; readonly limit?: number }): Promise<WindowInfo[]>;
  /** `state` '' means all; `limit` 0 the server's default. */
  listTasks(filter?: { readonly state?: string; readonly limit?: number }): Promise<TaskInfo[]>;
  listExecutors(): Promise<ExecutorInfo[]>;
  /** Has the tables of a source read again whose log cannot be read on; returns the last window before. */
  resnapshot(source: string): Promise<bigint>;
  /** Makes parked tasks due, and dead ones tried again; an empty list means all parked. Returns how many. */
  retryTasks(tasks?: readonly string[]): Promise<number>;
  /**
   * Compares the log with report databases and row states, and changes nothing. Pieces come as they are
   * found; the audit is whole only if they end without an error.
   */
  audit(): AsyncIterable<AuditPiece>;
  /** Adding, promoting, replacing and removing members. */
  readonly membership: MembershipClient;
  /** The bytes of a snapshot file of the whole state; complete only if they end without an error. */
  snapshot(): AsyncIterable<Uint8Array>;
  /** Keys and values. */
  readonly kv: KeyValueClient;
  close(): void;
}

/**
 * Makes a client; nothing is dialled before the first call.
 * @throws TidemarkError `CONFIG_INVALID` for endpoints that are none.
 */
export function connect(options: ConnectOptions): TidemarkClient {
  const credentials = options.credentials ?? insecureCredentials();
  return new EndpointClient(new Endpoints(options.endpoints, credentials), {
    deadlineMs: options.deadlineMs ?? LIMITS.clientDeadlineMs,
    name: options.name ?? 'client',
    clock: options.clock ?? systemClock,
  });
}

interface Settings {
  readonly deadlineMs: number;
  readonly name: string;
  readonly clock: Clock;
}

interface RequestId {
  readonly sessionId: bigint;
  readonly sequence: bigint;
}

class EndpointClient implements TidemarkClient {
  readonly kv: KeyValueClient;
  readonly membership: MembershipClient;
  readonly #endpoints: Endpoints;
  readonly #settings: Settings;
  readonly #link: KeyValueLink;
  #session: Promise<bigint> | undefined;
  #sequence = 0n;

  constructor(endpoints: Endpoints, settings: Settings) {
    this.#endpoints = endpoints;
    this.#settings = settings;
    this.#link = new KeyValueLink({
      endpoints,
      clock: settings.clock,
      // Of its own: the answers of a session are dropped as far as this client says that it has them.
      openSession: async () => (await this.#call(this.#sessionCall())).sessionId,
    });
    this.membership = createMembershipClient({ endpoints, ...settings });
    this.kv = createKeyValueClient({ ...settings, link: this.#link });
  }

  async init(clientAddresses: readonly string[]): Promise<InitReply> {
    // Asked once: whoever gets it passes it on to the coordinator that runs every init of this list.
    const request = { format: INIT_FORMAT, clientAddresses: [...clientAddresses] };
    const { preferred } = this.#endpoints;
    try {
      return await this.#endpoints.call(preferred, ClientService.init, request, this.#settings.deadlineMs);
    } catch (error) {
      throw initFailed(preferred, error);
    }
  }

  status(): Promise<EndpointStatus[]> {
    return askEndpoints(this.#endpoints, this.#endpoints.given);
  }

  members(): Promise<Members> {
    return askMembers(this.#endpoints);
  }

  digests(): Promise<MemberDigest[]> {
    return askDigests(this.#endpoints);
  }

  transferLeader(member = 0): Promise<bigint> {
    return transferLeader(this.#endpoints, BigInt(member), this.#settings.deadlineMs);
  }

  async apply(jobYaml: string, options: { readonly dryRun?: boolean } = {}): Promise<AppliedItem[]> {
    const dryRun = options.dryRun ?? false;
    const reply = await this.#numbered((id) => ({
      name: 'apply',
      method: ClientService.apply,
      request: { ...id, jobYaml, dryRun },
      kind: dryRun ? 'read' : 'numbered',
      // An executor checks the job against its databases first.
      slow: true,
    }));
    return reply.items;
  }

  async listSources(): Promise<SourceInfo[]> {
    const call = { name: 'source list', request: {}, kind: 'read' } as const;
    return (await this.#call({ ...call, method: ClientService.listSources })).sources;
  }

  async listReports(): Promise<ReportInfo[]> {
    const call = { name: 'report list', request: {}, kind: 'read' } as const;
    return (await this.#call({ ...call, method: ClientService.listReports })).reports;
  }

  async listWindows(
    filter: { readonly source?: string; readonly limit?: number } = {},
  ): Promise<WindowInfo[]> {
    const request = { source: filter.source ?? '', limit: filter.limit ?? 0 };
    const call = { name: 'window list', request, kind: 'read' } as const;
    return (await this.#call({ ...call, method: ClientService.listWindows })).windows;
  }

  async listTasks(filter: { readonly state?: string; readonly limit?: number } = {}): Promise<TaskInfo[]> {
    const request = { state: filter.state ?? '', limit: filter.limit ?? 0 };
    const call = { name: 'task list', request, kind: 'read' } as const;
    return (await this.#call({ ...call, method: ClientService.listTasks })).tasks;
  }

  async listExecutors(): Promise<ExecutorInfo[]> {
    const call = { name: 'executor list', request: {}, kind: 'read' } as const;
    return (await this.#call({ ...call, method: ClientService.listExecutors })).executors;
  }

  async resnapshot(source: string): Promise<bigint> {
    const reply = await this.#numbered((id) => ({
      name: 'source resnapshot',
      method: ClientService.resnapshot,
      request: { ...id, source },
      kind: 'numbered',
    }));
    return reply.window;
  }

  async retryTasks(tasks: readonly string[] = []): Promise<number> {
    const reply = await this.#numbered((id) => ({
      name: 'task retry',
      method: ClientService.retryTasks,
      request: { ...id, tasks: [...tasks] },
      kind: 'numbered',
    }));
    return reply.woken;
  }

  snapshot(): AsyncIterable<Uint8Array> {
    return downloadSnapshot(this.#endpoints);
  }

  audit(): AsyncIterable<AuditPiece> {
    return readAudit({ endpoints: this.#endpoints, ...this.#settings });
  }

  close(): void {
    this.#link.close();
    this.#endpoints.close();
  }

  #call<Request, Reply>(call: LeaderCall<Request, Reply>): Promise<Reply> {
    return callLeader({ endpoints: this.#endpoints, ...this.#settings }, call);
  }

  /**
   * Runs a change under this client's session. A session that the cluster has ended before the change was
   * carried out is opened anew, once: the refusal says that nothing was done under the old number.
   */
  async #numbered<Request, Reply>(make: (id: RequestId) => LeaderCall<Request, Reply>): Promise<Reply> {
    const session = this.#openSession();
    try {
      return await this.#call(make(await this.#nextId(session)));
    } catch (error) {
      if (!isTidemarkError(error, 'SESSION_EXPIRED')) throw error;
      if (this.#session === session) this.#session = undefined;
    }
    return this.#call(make(await this.#nextId(this.#openSession())));
  }

  async #nextId(session: Promise<bigint>): Promise<RequestId> {
    const sessionId = await session;
    this.#sequence += 1n;
    return { sessionId, sequence: this.#sequence };
  }

  #sessionCall(): LeaderCall<OpenSessionRequest, OpenSessionReply> {
    return {
      name: 'open session',
      method: ClientService.openSession,
      request: { name: this.#settings.name },
      // Opened twice after a lost answer, the first is never used and ends by itself.
      kind: 'read',
    };
  }

  #openSession(): Promise<bigint> {
    this.#session ??= this.#call(this.#sessionCall()).then(
      ({ sessionId }) => sessionId,
      (error: unknown) => {
        this.#session = undefined;
        throw error instanceof Error ? error : new TidemarkError('INTERNAL', String(error));
      },
    );
    return this.#session;
  }
}

/**
 * An init may be given again, whatever came of it; what is missing from a broken connection is where it went.
 */
function initFailed(address: string, error: unknown): TidemarkError {
  const known = toTidemarkError(error);
  if (!(known.cause instanceof Error) || !isTidemarkError(known, 'NO_LEADER', 'OUTCOME_UNKNOWN'))
    return known;
  return new TidemarkError(known.code, `the coordinator at ${address} does not answer: ${known.message}`, {
    next: 'Start it, or correct its address, and give the command again.',
    cause: known,
  });
}
