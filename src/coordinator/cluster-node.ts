/**
 * A coordinator that belongs to a cluster: consensus, the replicated state, the proposer and the scheduler,
 * wired to each other and to the executor streams. Leadership begins and ends here for all of them.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { TidemarkError, isTidemarkError, type Clock } from '../base/index.ts';
import { scrubLevelFolder } from '../leveldb/index.ts';
import type { Logger } from '../ops/index.ts';
import { makeRaftFolder, startRaftNode } from '../raft/index.ts';
import type { Member, PeerTransport, RaftNode, RaftStatus } from '../raft/index.ts';
import { SCHEDULER_DEFAULTS, createScheduler, taskTimeMs } from '../scheduler/index.ts';
import type { Scheduler, SchedulerConfig, SchedulerEvent } from '../scheduler/index.ts';
import { openStateMachine, type StateMachine, type StateView } from '../statemachine/index.ts';
import type { Credentials, FromExecutor, TaskOutcome, ToExecutor } from '../wire/index.ts';
import type { ClusterFace } from './clients/client-service.ts';
import type { DataFolder } from './members/data-folder.ts';
import type { DigestReport, Verdict } from './integrity/digest-verdict.ts';
import { DigestWatch } from './integrity/digest-watch.ts';
import { ExecutorLinks } from './executors/executor-links.ts';
import { redirect, serveExecutor } from './executors/executor-service.ts';
import { writeIdentity, type Identity } from './members/identity.ts';
import { Leadership } from './leadership.ts';
import { Membership } from './members/membership.ts';
import { createProposer } from './proposer.ts';
import { Scrub } from './integrity/scrub.ts';

export interface ClusterNodeOptions {
  readonly identity: Identity;
  readonly folder: DataFolder;
  readonly transport: PeerTransport;
  /** For the nodes that are added. */
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly log: Logger;
  readonly scheduler: Partial<SchedulerConfig>;
  readonly onOutcome: (outcome: TaskOutcome) => void;
  /** Asks another member for digests of its state. */
  readonly askDigests: (member: Member) => Promise<DigestReport>;
  /** Called, maybe more than once, when this member was removed from the cluster. */
  readonly onRemoved: () => void;
  /** Called once when the node cannot go on; the process must end. */
  readonly onFatal: (error: unknown) => void;
}

export interface ClusterNode extends ClusterFace {
  readonly identity: Identity;
  readonly raft: RaftNode;
  readonly scheduler: Scheduler;
  readonly serve: (call: ServerDuplexStream<FromExecutor, ToExecutor>) => void;
  /** Digests of this member's state, for others to compare. */
  readonly digests: () => DigestReport;
  readonly snapshots: StateMachine['snapshots'];
  readonly verdict: () => Verdict;
  /** Milliseconds since log and state were last found whole; undefined before the first scrub. */
  readonly scrubAgeMs: () => number | undefined;
  /** Times that this node has seen the leader change, for the metrics. */
  readonly leaderChanges: () => number;
  stop(): Promise<void>;
}

/**
 * Opens the state and the log and takes part in the cluster from then on.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_IN_USE`, `DATA_OF_OTHER_CLUSTER`,
 * `STORAGE_FAILED`.
 */
export async function startClusterNode(options: ClusterNodeOptions): Promise<ClusterNode> {
  const { identity, folder, clock, log } = options;
  const { clusterId } = identity;
  if (!identity.started) {
    // In this order: a crash between the two is a member that has not run yet, never one without its log.
    await makeRaftFolder({ clusterId, memberId: identity.memberId, folder: folder.logPath });
    await writeIdentity(folder.path, { ...identity, started: true });
  }
  const opening = openState(options);
  const leadership = new Leadership();
  let raft: RaftNode;
  try {
    raft = await startRaftNode({
      clusterId,
      memberId: identity.memberId,
      initialMembers: identity.joined ? [] : identity.members,
      folder: folder.logPath,
      mustExist: true,
      transport: options.transport,
      stateMachine: opening,
      clock,
      log: log.child({ component: 'raft' }),
      onStatus: (status) => {
        leadership.follow(status);
        if (status.removed) options.onRemoved();
      },
      onFatal: options.onFatal,
    });
  } catch (error) {
    const [state] = await Promise.allSettled([opening]);
    if (state.status === 'fulfilled') await state.value.close();
    throw error;
  }
  return wire(options, { state: await opening, raft, leadership });
}

/** Begins at once, in a thread of its own: the log is read beside it. */
async function openState({ identity, folder, clock, log }: ClusterNodeOptions): Promise<StateMachine> {
  const beganMs = clock.monotonicMs();
  const state = await openStateMachine({
    folder: folder.statePath,
    clusterId: identity.clusterId,
    onCut: (cut) => {
      log.warn({ cut }, 'the newest writes of the state were not whole: they are applied again from the log');
    },
  });
  const ms = Math.round(clock.monotonicMs() - beganMs);
  log.info({ appliedIndex: state.appliedIndex, keys: state.view().keyValues.size, ms }, 'the state was read');
  return state;
}

interface Parts {
  readonly state: StateMachine;
  readonly raft: RaftNode;
  readonly leadership: Leadership;
}

function wire(options: ClusterNodeOptions, parts: Parts): ClusterNode {
  const { identity, clock, log } = options;
  const { state, raft, leadership } = parts;
  const view = (): StateView => state.view();
  const status = (): RaftStatus => raft.status();
  const proposer = createProposer({ raft, clock, appliedLogTimeMs: () => view().cluster.logTimeMs });
  const executorLog = log.child({ component: 'executors' });
  const links = new ExecutorLinks({
    view,
    clusterId: identity.clusterId,
    clock,
    taskTimeMs: (task) => taskTimeMs({ ...SCHEDULER_DEFAULTS, ...options.scheduler }, view(), task),
    log: executorLog,
  });
  const scheduler = createScheduler({
    ports: {
      executors: links,
      state: {
        propose: (operations) => proposer.propose(operations),
        view,
        leadsIn: (term) => leadership.leads && status().leading && status().term === term,
      },
    },
    clock,
    log: log.child({ component: 'scheduler' }),
    config: options.scheduler,
    onFatal: options.onFatal,
  });
  const stopListening = connect(parts, { links, scheduler, log });
  const watch = watchDigests(options, parts);
  const scrub = startScrub(options, state);
  const onEvent = (event: SchedulerEvent): void => {
    scheduler.event(event);
  };
  const { clusterId } = identity;
  const { onOutcome } = options;
  const service = { clusterId, status, proposer, view, links, clock, log: executorLog, onEvent, onOutcome };
  return {
    identity,
    raft,
    view,
    proposer,
    links,
    membership: new Membership({ clusterId, raft, credentials: options.credentials, log }),
    clock,
    scheduler,
    digests: () => state.digests(),
    snapshots: state.snapshots,
    verdict: () => watch.verdict,
    scrubAgeMs: () => scrub.ageMs,
    leaderChanges: () => leadership.changes,
    serve: (call) => {
      serveExecutor(service, call);
    },
    async stop() {
      await handOver(raft, log);
      watch.stop();
      await scrub.stop();
      stopListening();
      await scheduler.stop();
      links.redirectAll(redirect(status()));
      await raft.stop();
      await state.close();
    },
  };
}

/** Compares states from now on. Where no majority says which is right, this node decides nothing. */
function watchDigests(options: ClusterNodeOptions, { state, raft, leadership }: Parts): DigestWatch {
  const watch = new DigestWatch({
    own: () => state.digests(),
    ownId: options.identity.memberId,
    voters: () => raft.status().members.flatMap(({ id, role }) => (role === 'voter' ? [id] : [])),
    ask: async (id) => {
      const member = raft.status().members.find((one) => one.id === id);
      if (member === undefined) throw new TidemarkError('MEMBER_MISMATCH', `member ${id} is no more`);
      return options.askDigests(member);
    },
    clock: options.clock,
    log: options.log.child({ component: 'digests' }),
    onVerdict: (verdict) => {
      leadership.halt(verdict.kind === 'split' || verdict.kind === 'wrong', raft.status());
    },
    onFatal: options.onFatal,
  });
  watch.start();
  return watch;
}

function startScrub({ folder, clock, log, onFatal }: ClusterNodeOptions, state: StateMachine): Scrub {
  const scrub = new Scrub({
    checks: [
      () => scrubLevelFolder(folder.logPath),
      () => scrubLevelFolder(folder.statePath),
      () => state.scrub(),
    ],
    clock,
    log: log.child({ component: 'scrub' }),
    onFatal,
  });
  scrub.start();
  return scrub;
}

/** Before anything else ends: executors and clients are then sent straight to who leads next. */
async function handOver(raft: RaftNode, log: Logger): Promise<void> {
  if (raft.status().role !== 'leader') return;
  try {
    await raft.transferLeadership();
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    log.info({ code: error.code, error: error.message }, 'the lead was not handed over');
  }
}

/** Tells scheduler and streams what consensus and the state machine tell; returns what ends the latter. */
function connect(
  { state, raft, leadership }: Parts,
  { links, scheduler, log }: { links: ExecutorLinks; scheduler: Scheduler; log: Logger },
): () => void {
  leadership.begin(raft.status(), {
    onLeader: (term) => {
      log.info({ term }, 'this coordinator leads');
      scheduler.onLeader(term);
    },
    onPaused: () => {
      scheduler.onFollower();
    },
    onFollower: () => {
      log.info({ term: raft.status().term }, 'this coordinator leads no more');
      links.redirectAll(redirect(raft.status()));
    },
  });
  return state.onApplied(() => {
    if (!leadership.leads) return;
    links.dropExpired();
    scheduler.event({ type: 'state-changed' });
  });
}
