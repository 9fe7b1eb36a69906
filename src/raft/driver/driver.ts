/**
 * Runs the core against the world: one write under way, one turn's proposals appended together, one turn's
 * messages in one frame. What may leave before the disk is sent before the write begins.
 *
 * Every input goes through `#step`; nothing awaits between a step and taking up its effects.
 */
import {
  LIMITS,
  failpoint,
  isTidemarkError,
  logIndex,
  mutated,
  type LogIndex,
  type MemberId,
  type TidemarkError,
} from '../../base/index.ts';
import { RaftCore, type Input, type LoadRequest } from '../core/index.ts';
import { initialConfiguration } from '../configuration.ts';
import type { Entry } from '../entry.ts';
import type { LogStore } from '../log-store/index.ts';
import { decodeFrame } from '../peer-codec.ts';
import type {
  Configuration,
  MembershipChange,
  PeerTransport,
  ProposeResult,
  RaftNode,
  RaftOptions,
  RaftStatus,
  WriteTimes,
} from '../types.ts';
import { Applier } from './applier.ts';
import { DiskWatch } from './disk-watch.ts';
import { Handover } from './handover.ts';
import { makeSnapshots } from './make-snapshots.ts';
import { MembershipChanges } from './membership-changes.ts';
import { Outbox } from './outbox.ts';
import { PeerList } from './peer-list.ts';
import { PendingReads } from './pending-reads.ts';
import { Proposals } from './proposals.ts';
import { logFull, notLeader, stopping, unknownOutcome } from './refusals.ts';
import { Settling } from './settling.ts';
import type { Snapshots } from './snapshots.ts';
import { Standing } from './standing.ts';
import { Ticker } from './ticker.ts';
import { DEFAULT_TUNING, INFLIGHT_LIMIT, type DriverTuning } from './tuning.ts';
import { WriteQueue, type QueuedWrite } from './write-queue.ts';

export interface DriverParts {
  readonly options: RaftOptions;
  readonly store: LogStore;
  /** Different for every node and every start. */
  readonly seed: number;
  readonly laterTurn: (run: () => void) => void;
  /** Runs something as soon as the present callback and its promises are done. @default laterTurn */
  readonly soon?: (run: () => void) => void;
  /** @default the limits of base */
  readonly tuning?: DriverTuning;
}

/** What an observer may see of the core. */
export type CoreView = Omit<RaftCore, 'step' | 'planChange'>;

const ELECTION_MS = LIMITS.raftElectionTicks * LIMITS.raftTickMs;

/** A follower that could not answer a read for so long names the leader: the caller asks there. */
const READ_TICKS = 2 * LIMITS.raftElectionTicks;

export class RaftDriver implements RaftNode {
  readonly #options: RaftOptions;
  readonly #store: LogStore;
  readonly #laterTurn: (run: () => void) => void;
  readonly #soon: (run: () => void) => void;
  readonly #core: RaftCore;
  readonly #tuning: DriverTuning;
  readonly #applier: Applier;
  readonly #standing: Standing;
  readonly #ticker: Ticker;
  readonly #outbox: Outbox;
  readonly #handover: Handover;
  readonly #snapshots: Snapshots | undefined;
  readonly #writes = new WriteQueue();
  readonly #disk: DiskWatch;
  readonly #proposals = new Proposals();
  readonly #reads = new PendingReads();
  readonly #settling = new Settling();
  readonly #changes: MembershipChanges;
  readonly #peers: PeerList;
  #state: 'running' | 'stopping' | 'dead' = 'running';
  #turnPlanned = false;
  #writing: Promise<void> | undefined;

  constructor(parts: DriverParts) {
    const { options, store, seed, laterTurn } = parts;
    this.#options = options;
    this.#store = store;
    this.#laterTurn = laterTurn;
    this.#soon = parts.soon ?? laterTurn;
    this.#tuning = parts.tuning ?? DEFAULT_TUNING;
    this.#outbox = new Outbox(options.transport);
    this.#core = new RaftCore(
      {
        id: options.memberId,
        electionTicks: LIMITS.raftElectionTicks,
        heartbeatTicks: LIMITS.raftHeartbeatTicks,
        appendLimit: this.#tuning.appendLimit,
        inflightLimit: this.#tuning.inflightLimit ?? INFLIGHT_LIMIT,
        tailBytes: this.#tuning.tailBytes,
        seed,
      },
      {
        hardState: store.hardState,
        log: store.takeView(initialConfiguration(options.initialMembers)),
        appliedIndex: logIndex(options.stateMachine.appliedIndex),
      },
    );
    const take = (input: Input): void => {
      this.#take(input);
    };
    this.#disk = new DiskWatch({ core: this.#core, options, take });
    this.#handover = new Handover(this.#core, LIMITS.raftElectionTicks);
    this.#applier = new Applier({
      core: this.#core,
      store,
      stateMachine: options.stateMachine,
      clock: options.clock,
      laterTurn,
      onApplied: (entries, replies) => {
        this.#onApplied(entries, replies);
      },
      onFatal: (error) => {
        this.#fail(error);
      },
    });
    this.#snapshots = this.#makeSnapshots(take);
    const appliedIndex = (): LogIndex => this.#applier.appliedIndex;
    const snapshotsTo = (id: MemberId): number => this.#snapshots?.inARow(id) ?? 0;
    this.#standing = new Standing({ core: this.#core, options, appliedIndex, snapshotsTo });
    this.#changes = new MembershipChanges(this.#core, appliedIndex);
    this.#peers = new PeerList(options.transport);
    this.#ticker = new Ticker({
      clock: options.clock,
      tickMs: LIMITS.raftTickMs,
      stallMs: ELECTION_MS / 2,
      laterTurn,
      onStall: (gapMs) => {
        options.log.warn({ gapMs: Math.round(gapMs), role: this.#core.role }, 'the event loop was stalled');
        this.#take({ type: 'stalled' });
      },
      onTick: () => {
        this.#disk.tick();
        this.#take({ type: 'tick' });
        this.#handover.tick();
        this.#ageReads();
        this.#settling.tick();
        this.#peers.tick();
        this.#snapshots?.tick();
      },
    });
    this.#begin(options.transport);
  }

  status(): RaftStatus {
    return this.#standing.status(this.#awake);
  }

  /** Whether this node can vouch for itself. */
  get #awake(): boolean {
    return this.#state === 'running' && !this.#ticker.stalled;
  }

  writeTimes(): WriteTimes {
    return this.#disk.times();
  }

  /** For observers: the oracles of the simulator look at the very core that runs. */
  get core(): CoreView {
    return this.#core;
  }

  propose(data: Uint8Array): Promise<ProposeResult> {
    const refusal = this.#refusal() ?? this.#logFull(data.length);
    if (refusal !== undefined) return Promise.reject(refusal);
    const result = this.#proposals.add(data);
    // Whoever proposes has gathered before.
    this.#planTurn(this.#soon);
    return result;
  }

  readIndex(): Promise<LogIndex> {
    if (this.#state !== 'running') return Promise.reject(stopping());
    const serves = this.#core.leaderId !== undefined && !this.#core.lacksState;
    if (!serves) return Promise.reject(this.#notLeader());
    const result = this.#reads.add();
    this.#planTurn();
    return result;
  }

  transferLeadership(to?: MemberId): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#handover.start(to, () => {
      this.#take({ type: 'transfer', to });
    });
  }

  changeMembership(change: MembershipChange): Promise<Configuration> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    let members;
    try {
      members = this.#core.planChange(change);
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      return Promise.reject(error);
    }
    if (members === undefined || change.checkOnly === true) return Promise.resolve(this.#core.configuration);
    this.#take({ type: 'reconfigure', members });
    return this.#state === 'running' ? this.#changes.wait() : Promise.reject(stopping());
  }

  settled(): Promise<void> | undefined {
    return this.#settling.wait();
  }

  async stop(): Promise<void> {
    if (this.#core.role === 'leader') await this.#giveUpLead();
    if (this.#state !== 'running') return;
    this.#state = 'stopping';
    this.#ticker.stop();
    this.#proposals.failAll(stopping(), unknownOutcome('this node stopped'));
    this.#reads.failAll(stopping());
    this.#changes.failAll(unknownOutcome('this node stopped', 'the members changed'));
    this.#handover.fail(stopping());
    this.#settling.end();
    await this.#writing;
    this.#writes.abandon();
    await this.#snapshots?.stop();
    await this.#applier.stop();
    await this.#store.close();
  }

  #begin(transport: PeerTransport): void {
    transport.onFrame((from, frame) => {
      this.#onFrame(from, frame);
    });
    transport.onPeerGone?.((id) => {
      this.#take({ type: 'peer-gone', id });
    });
    transport.onRemoved?.(() => {
      this.#take({ type: 'removed' });
    });
    this.#peers.follow(this.#core.configuration);
    this.#ticker.start();
    // Last: the state may have failed already, and that ends all of the above.
    this.#applier.listen();
  }

  #makeSnapshots(take: (input: Input) => void): Snapshots | undefined {
    return makeSnapshots({
      options: this.#options,
      store: this.#store,
      core: this.#core,
      writes: this.#writes,
      applier: this.#applier,
      policy: this.#tuning.compaction,
      running: () => this.#state === 'running',
      take,
      planTurn: () => {
        this.#planTurn();
      },
      onFatal: (error) => {
        this.#fail(error);
      },
    });
  }

  /** Whoever is left would wait for an election otherwise. Without anybody to lead, stopping goes on. */
  async #giveUpLead(): Promise<void> {
    try {
      await this.transferLeadership();
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      this.#options.log.warn({ code: error.code, error: error.message }, 'the lead was not handed over');
    }
  }

  #refusal(): TidemarkError | undefined {
    if (this.#state !== 'running') return stopping();
    return this.#core.role === 'leader' ? undefined : this.#notLeader();
  }

  #notLeader(): TidemarkError {
    return notLeader(this.#options, this.#core.configuration, this.#core.leaderId);
  }

  #logFull(bytes: number): TidemarkError | undefined {
    return logFull({
      entries: this.#core.lastIndex - this.#core.baseIndex + this.#proposals.queued,
      bytes: this.#store.bytes + this.#proposals.bytes + bytes,
    });
  }

  #onFrame(from: MemberId, frame: Uint8Array): void {
    if (this.#state !== 'running') return;
    let messages;
    try {
      messages = decodeFrame(frame);
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      this.#options.log.warn({ from, code: error.code, error: error.message }, 'a peer frame was dropped');
      return;
    }
    for (const message of messages) this.#take({ type: 'message', from, message });
  }

  /** An input from outside; what it brings goes out at the end of the turn. */
  #take(input: Input): void {
    this.#step(input);
    this.#planTurn();
  }

  /** Gives the core one input and takes up the effects. A broken invariant ends the node. */
  #step(input: Input): void {
    if (this.#state !== 'running') return;
    try {
      const effects = this.#core.step(input);
      this.#outbox.add(effects.sendNow);
      if (effects.persist !== undefined) this.#writes.add(effects.persist);
      this.#outbox.add(this.#writes.addAfterDurable(effects.sendAfterDurable));
      for (const request of effects.loads) void this.#load(request);
      for (const request of effects.snapshots) this.#snapshots?.request(request);
      for (const streamed of effects.streamed) this.#snapshots?.onStreamed(streamed);
      for (const read of effects.confirmedReads) this.#reads.confirmed(read);
      for (const id of effects.lostReads) this.#reads.lost(id);
      this.#reads.applied(this.#applier.appliedIndex);
      this.#changes.look();
      this.#peers.follow(this.#core.configuration);
      this.#publish();
      this.#handover.look();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Whatever this turn brings goes out together at its end. */
  #planTurn(end = this.#laterTurn): void {
    if (this.#turnPlanned || this.#state !== 'running') return;
    this.#turnPlanned = true;
    end(() => {
      this.#turnPlanned = false;
      this.#endTurn();
    });
  }

  #endTurn(): void {
    if (this.#state !== 'running') return;
    const core = this.#core;
    const begins = core.transferee === undefined || mutated('raft.transferTakesProposals');
    if (begins && core.role === 'leader' && this.#proposals.queued > 0) {
      const data = this.#proposals.takeQueued(logIndex(core.lastIndex + 1), core.term);
      this.#step({ type: 'propose', data });
    }
    if (core.leaderId === undefined && this.#reads.unconfirmed)
      this.#reads.failUnconfirmed(this.#notLeader());
    const read = begins ? this.#reads.begin() : undefined;
    if (read !== undefined) this.#step({ type: 'read', id: read });
    this.#outbox.flush();
    const next = this.#writes.begin();
    if (next !== undefined) this.#writing = this.#write(next);
    this.#applier.kick();
  }

  /** A leader is bounded by its quorum; a follower's question or its own applying may take for ever. */
  #ageReads(): void {
    this.#reads.tick();
    if (this.#core.role !== 'leader') this.#reads.expire(READ_TICKS, () => this.#notLeader());
  }

  async #write(queued: QueuedWrite): Promise<void> {
    this.#disk.began();
    const detail = { member: String(this.#options.memberId), role: this.#core.role };
    try {
      await failpoint('raft.beforePersist', detail);
      await this.#store.write(queued.write);
      await failpoint('raft.afterPersist', detail);
    } catch (error) {
      if (!mutated('raft.goesOnAfterFailedWrite')) {
        this.#fail(error);
        return;
      }
    }
    this.#disk.ended();
    for (const resolve of queued.waiting) resolve();
    if (this.#state !== 'running') return;
    this.#writes.complete();
    this.#outbox.add(queued.after);
    this.#step({ type: 'persisted', sequence: queued.sequence });
    this.#endTurn();
  }

  async #load(request: LoadRequest): Promise<void> {
    let entries: readonly Entry[];
    try {
      entries = await this.#store.read(request.first, this.#tuning.appendLimit);
    } catch (error) {
      // Stopping closes the store under what is read.
      if (this.#state === 'running') this.#fail(error);
      return;
    }
    this.#take({ type: 'loaded', request, entries });
  }

  #onApplied(entries: readonly Entry[], replies: readonly Uint8Array[]): void {
    entries.forEach((entry, at) => {
      const reply = replies[at];
      if (reply !== undefined) this.#proposals.applied(entry, reply);
    });
    this.#reads.applied(this.#applier.appliedIndex);
    this.#changes.look();
    this.#publish();
  }

  /** Tells of every change in the turn in which it happened. */
  #publish(): void {
    const change = this.#standing.change(this.#awake || mutated('raft.stalledLeaderTold'));
    this.#settling.look(this.#standing.settled);
    if (change === undefined) return;
    const { now, leadLost } = change;
    if (leadLost) {
      const refused = notLeader(this.#options, now.configuration, now.leaderId);
      this.#proposals.failAll(refused, unknownOutcome('this node lost the lead'));
      this.#reads.failUnconfirmed(refused);
    }
    const { role, term, leaderId, leading } = now;
    this.#options.log.info({ role, term, leader: leaderId, leading }, 'raft status');
    this.#options.onStatus(now);
  }

  /** The disk failed or an invariant broke: nothing more is sent, answered or tried. The process ends. */
  #fail(error: unknown): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#ticker.stop();
    const unknown = unknownOutcome('this node failed');
    this.#proposals.failAll(unknown, unknown);
    this.#reads.failAll(stopping('this node failed'));
    this.#changes.failAll(unknown);
    this.#handover.fail(stopping('this node failed'));
    this.#settling.end();
    this.#options.onFatal(error);
  }
}
