/**
 * The service for people and programs. Status is answered by every node about itself; reads are answered by
 * every member from its own state, once it has reached what the leader had when the read began; changes go
 * through the log under the client's session.
 */
import { TidemarkError, memberId } from '../../base/index.ts';
import type { Clock } from '../../base/index.ts';
import type { RaftNode, RaftStatus } from '../../raft/index.ts';
import type { Operation, OperationResult, StateView } from '../../statemachine/index.ts';
import type { ClientServer, DigestReply, InitReply, InitRequest, StatusReply } from '../../wire/index.ts';
import type { TransferLeaderReply, TransferLeaderRequest } from '../../wire/index.ts';
import { applyJob, requestId } from './apply-job.ts';
import { notLeader, withLeader } from '../coded-error.ts';
import type { ExecutorLinks } from '../executors/executor-links.ts';
import { checkFormat, unary } from '../grpc-server.ts';
import { listExecutors, listReports, listSources, listWindows } from './lists.ts';
import { listTasks } from './list-tasks.ts';
import type { Membership } from '../members/membership.ts';
import type { Proposer, Proposing } from '../proposer.ts';
import { readResnapshot } from './resnapshot-request.ts';
import { safeNumber } from '../safe-number.ts';

/** What the service needs of a node that belongs to a cluster. */
export interface ClusterFace {
  readonly raft: Pick<RaftNode, 'readIndex' | 'settled' | 'status' | 'transferLeadership'>;
  readonly view: () => StateView;
  readonly proposer: Proposer;
  readonly links: ExecutorLinks;
  readonly membership: Membership;
  readonly clock: Clock;
}

export interface ClientServiceOptions {
  readonly status: () => StatusReply;
  readonly init: (request: InitRequest) => Promise<InitReply>;
  readonly digest: () => DigestReply;
  readonly saveSnapshot: ClientServer['saveSnapshot'];
  readonly audit: ClientServer['audit'];
  /** @throws TidemarkError `NOT_INITIALIZED`, or `NOT_LEADER` while a member is starting. */
  readonly cluster: () => ClusterFace;
}

export function createClientService(options: ClientServiceOptions): ClientServer {
  /** Runs a change or a read on the cluster; errors of leadership get the leader's address. */
  const onCluster = async <T>(work: (cluster: ClusterFace) => Promise<T>): Promise<T> => {
    const cluster = options.cluster();
    try {
      return await work(cluster);
    } catch (error) {
      throw withLeader(error, cluster.raft.status());
    }
  };
  /** Reads one view of the state, which is at least as new as when the call arrived. */
  const read = <T>(look: (view: StateView, cluster: ClusterFace) => T): Promise<T> =>
    onCluster(async (cluster) => {
      await cluster.raft.readIndex();
      return look(cluster.view(), cluster);
    });

  return {
    init: unary((request) => options.init(request)),
    status: unary(() => options.status()),
    digest: unary(() => options.digest()),
    saveSnapshot: options.saveSnapshot,
    audit: options.audit,
    transferLeader: unary((request) => onCluster(({ raft }) => transferLeader(raft, request))),
    addMember: unary((request) => onCluster(({ membership }) => membership.add(request))),
    promoteMember: unary((request) => onCluster(({ membership }) => membership.promote(request))),
    removeMember: unary((request) => onCluster(({ membership }) => membership.remove(request))),
    openSession: unary(({ name }) =>
      onCluster(async ({ proposer }) => {
        const value = await proposeOne(proposer, { type: 'session.open', v: 1, name });
        return { sessionId: BigInt(Number(value['sessionId'])) };
      }),
    ),
    apply: unary((request) =>
      onCluster((cluster) =>
        applyJob({ ...cluster, status: (): RaftStatus => cluster.raft.status() }, request),
      ),
    ),
    listSources: unary(() => read((view) => ({ sources: listSources(view) }))),
    listReports: unary(() => read((view) => ({ reports: listReports(view) }))),
    listWindows: unary((request) => read((view) => ({ windows: listWindows(view, request) }))),
    listTasks: unary((request) => read((view) => ({ tasks: listTasks(view, request) }))),
    listExecutors: unary(() =>
      read((view, { links, clock, raft }) => {
        // Who is connected is known to the leader alone.
        if (!raft.status().leading) throw notLeader(raft.status());
        return { executors: listExecutors(view, links.observe(), clock.monotonicMs()) };
      }),
    ),
    resnapshot: unary((request) =>
      onCluster(async (cluster) => {
        await cluster.raft.readIndex();
        const operation = readResnapshot(request, cluster.view());
        const value = await proposeOne(cluster.proposer, operation, requestId(request));
        return { window: BigInt(Number(value['window'])) };
      }),
    ),
    retryTasks: unary((request) =>
      onCluster(async ({ proposer }) => {
        const operation: Operation = { type: 'task.wake', v: 1, keys: request.tasks };
        const value = await proposeOne(proposer, operation, requestId(request));
        return { woken: Number(value['woken'] ?? 0) };
      }),
    ),
  };
}

const TRANSFER_FORMAT = 1;

/** @throws TidemarkError `NOT_LEADER`, `TRANSFER_FAILED`, `BAD_REQUEST`. */
async function transferLeader(
  raft: ClusterFace['raft'],
  request: TransferLeaderRequest,
): Promise<TransferLeaderReply> {
  checkFormat(request.format, TRANSFER_FORMAT, 'the transfer request');
  const to = memberId(safeNumber(request.memberId, 'member id'));
  const before = raft.status();
  if (before.role !== 'leader' || before.memberId !== to)
    await raft.transferLeadership(to === 0 ? undefined : to);
  return { format: TRANSFER_FORMAT, leaderId: BigInt(raft.status().leaderId ?? 0) };
}

async function proposeOne(
  proposer: Proposer,
  operation: Operation,
  as?: Proposing,
): Promise<Extract<OperationResult, { ok: true }>['value']> {
  const [result] = await proposer.propose([operation], as);
  if (result === undefined) throw new TidemarkError('INTERNAL', `${operation.type} was not answered`);
  if (!result.ok) throw new TidemarkError(result.code, result.message);
  return result.value;
}
