/**
 * The service for people and programs. Status is answered by every node about itself; reads are answered by
 * the leader once it has confirmed that it leads; changes go through the log under the client's session.
 */
import { TidemarkError } from '../base/index.ts';
import type { Clock } from '../base/index.ts';
import type { RaftNode, RaftStatus } from '../raft/index.ts';
import type { Operation, OperationResult, StateView } from '../statemachine/index.ts';
import type { ClientServer, InitReply, InitRequest, StatusReply } from '../wire/index.ts';
import { applyJob, requestId } from './apply-job.ts';
import { withLeader } from './coded-error.ts';
import type { ExecutorLinks } from './executor-links.ts';
import { unary } from './grpc-server.ts';
import { listExecutors, listReports, listSources, listTasks, listWindows } from './lists.ts';
import type { Proposer, Proposing } from './proposer.ts';

/** What the service needs of a node that belongs to a cluster. */
export interface ClusterFace {
  readonly raft: Pick<RaftNode, 'readIndex' | 'status'>;
  readonly view: () => StateView;
  readonly proposer: Proposer;
  readonly links: ExecutorLinks;
  readonly clock: Clock;
}

export interface ClientServiceOptions {
  readonly status: () => StatusReply;
  readonly init: (request: InitRequest) => Promise<InitReply>;
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
      read((view, { links, clock }) => ({
        executors: listExecutors(view, links.observe(), clock.monotonicMs()),
      })),
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
