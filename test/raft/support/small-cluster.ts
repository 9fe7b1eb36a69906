import { memberId, must, type Clock, type MemberId } from '../../../src/base/index.ts';
import { initialConfiguration } from '../../../src/raft/configuration.ts';
import { RaftDriver, followInstalled, type CompactionPolicy } from '../../../src/raft/driver/index.ts';
import type { Member, RaftStatus } from '../../../src/raft/index.ts';
import { MemoryDisk, openLogStore } from '../../../src/raft/log-store/index.ts';
import { Chance, SimLoop } from '../simulation/loop.ts';
import { CLUSTER } from './grpc-cluster.ts';
import { memberOf } from './membership.ts';
import { StateDisk, TextsState } from './texts-state.ts';

/** Logs so short that a follower soon needs a snapshot. */
export const SHORT_LOGS: CompactionPolicy = {
  keepEntries: 5,
  keepBytes: 1024 * 1024,
  stepEntries: 10,
  stepBytes: 1024 * 1024,
  holdEntries: 1_000,
  holdBytes: 4 * 1024 * 1024,
};

export interface SmallMember {
  readonly id: MemberId;
  /** Empty for who joins later. */
  readonly initial: readonly Member[];
  readonly disk: MemoryDisk;
  readonly stateDisk: StateDisk;
  driver: RaftDriver | undefined;
  state: TextsState;
  receive: ((from: MemberId, frame: Uint8Array) => void) | undefined;
}

/** Frames between the members of one virtual cluster; `loses` decides about each. */
export class SmallCluster {
  readonly loop = new SimLoop();
  readonly members: SmallMember[] = [];
  readonly fatal: unknown[] = [];
  /** What members warned of. */
  readonly warnings: string[] = [];
  loses: (from: MemberId, to: MemberId, frame: Uint8Array) => boolean = () => false;
  onStatus: (id: MemberId, status: RaftStatus) => void = () => undefined;
  /** How far the wall clocks have jumped. */
  wallJumpMs = 0;
  readonly #compaction: CompactionPolicy;
  readonly #padding: string;
  readonly #chance = new Chance(1);
  #acknowledged = 0;

  /** @param textBytes what a text that is written weighs at least */
  constructor(size: number, compaction: CompactionPolicy, { textBytes = 0 } = {}) {
    this.#compaction = compaction;
    this.#padding = ' '.repeat(textBytes);
    const list = Array.from({ length: size }, (_, at) => memberOf(at + 1));
    for (const { id } of list) this.#add(id, list);
  }

  /** Starts a machine that belongs to no cluster yet, under the id that it will have. */
  async join(id: number): Promise<SmallMember> {
    const member = this.#add(memberId(id), []);
    await this.start(member);
    return member;
  }

  #add(id: MemberId, initial: readonly Member[]): SmallMember {
    const stateDisk = new StateDisk();
    const disk = new MemoryDisk({ later: (run) => void this.loop.after(0.5, run) });
    const state = new TextsState(stateDisk);
    const member = { id, initial, disk, stateDisk, state, driver: undefined, receive: undefined };
    this.members.push(member);
    return member;
  }

  async startAll(): Promise<void> {
    for (const member of this.members) if (member.driver === undefined) await this.start(member);
  }

  async start(member: SmallMember): Promise<void> {
    const { id, initial, disk, stateDisk } = member;
    const state = new TextsState(stateDisk);
    const identity = { clusterId: CLUSTER, memberId: id, folder: '', mustExist: false, sync: true };
    const progress = { done: false };
    const opening = openLogStore(disk.open(), disk.openWitness(), identity).then(async (found) => {
      await followInstalled(found, state, initialConfiguration(initial));
      return found;
    });
    void Promise.allSettled([opening]).then(() => (progress.done = true));
    while (!progress.done) {
      // One real turn, so that the store can ask for its next write.
      this.loop.after(0, () => undefined);
      await this.advance(1);
    }
    const store = await opening;
    const current = (): boolean => member.state === state;
    member.state = state;
    const clock: Clock = {
      monotonicMs: () => this.loop.nowMs,
      wallMs: () => this.loop.nowMs + this.wallJumpMs,
      after: (ms, run) =>
        this.loop.after(ms, () => {
          if (current()) run();
        }),
    };
    member.driver = new RaftDriver({
      options: {
        clusterId: CLUSTER,
        memberId: id,
        initialMembers: initial,
        folder: '',
        transport: {
          send: (to, frame) => {
            if (current()) this.#send(id, to, frame);
          },
          onFrame: (receive) => {
            member.receive = receive;
          },
          close: () => Promise.resolve(),
        },
        stateMachine: state,
        clock,
        log: { info: () => undefined, warn: (_fields, message) => this.warnings.push(message) },
        onStatus: (status) => {
          this.onStatus(id, status);
        },
        onFatal: (error) => this.fatal.push(error),
      },
      store,
      seed: this.#chance.between(0, 2 ** 32 - 1),
      laterTurn: (run) => void clock.after(0, run),
      tuning: {
        appendLimit: { entries: 1_000, bytes: 1024 * 1024 },
        tailBytes: 1024 * 1024,
        compaction: this.#compaction,
      },
    });
  }

  /** Power is lost: what was not synced is gone, of log and state. */
  crash(member: SmallMember): void {
    member.driver = undefined;
    member.receive = undefined;
    member.disk.crash(0);
    member.state = new TextsState(member.stateDisk);
  }

  async advance(ms: number): Promise<void> {
    await this.loop.advance(ms, () => undefined);
    if (this.fatal.length > 0) throw this.fatal[0];
  }

  leader(): SmallMember | undefined {
    return this.members.find(({ driver }) => driver?.status().leading === true);
  }

  async led(): Promise<SmallMember> {
    await this.until(() => this.leader() !== undefined);
    return must(this.leader(), 'leader');
  }

  async until(holds: () => boolean, withinMs = 60_000): Promise<void> {
    const end = this.loop.nowMs + withinMs;
    while (!holds()) {
      if (this.loop.nowMs > end) throw new Error('not in time');
      await this.advance(10);
    }
  }

  /** Writes `count` texts through whoever leads, one after another, and returns how many there are. */
  async write(count: number): Promise<number> {
    for (let at = 0; at < count; at++) {
      const { driver } = await this.led();
      const result = must(driver, 'a running leader').propose(
        Buffer.from(`t${this.#acknowledged}${this.#padding}`),
      );
      let done = false;
      void result.then(() => (done = true));
      await this.until(() => done);
      this.#acknowledged++;
    }
    return this.#acknowledged;
  }

  agree(): Promise<void> {
    return this.until(() =>
      this.members.every(
        ({ driver, state }) => driver !== undefined && state.texts.length === this.#acknowledged,
      ),
    );
  }

  #send(from: MemberId, to: MemberId, frame: Uint8Array): void {
    if (this.loses(from, to, frame)) return;
    this.loop.after(0.5 + this.#chance.next(), () => {
      this.members.find(({ id }) => id === to)?.receive?.(from, frame);
    });
  }
}
