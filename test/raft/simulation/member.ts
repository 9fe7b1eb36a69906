import { must, type Clock, type MemberId } from '../../../src/base/index.ts';
import { RaftDriver, type DriverTuning } from '../../../src/raft/driver/index.ts';
import type { Member, RaftStatus } from '../../../src/raft/index.ts';
import { MemoryDisk, openLogStore } from '../../../src/raft/log-store/index.ts';
import { EchoStateMachine } from '../support/echo-state-machine.ts';
import { CLUSTER, quiet } from '../support/grpc-cluster.ts';
import type { Chance, SimLoop } from './loop.ts';
import type { SimNetwork } from './network.ts';

export interface SimMemberParts {
  readonly id: MemberId;
  readonly members: readonly Member[];
  readonly loop: SimLoop;
  readonly chance: Chance;
  readonly network: SimNetwork;
  readonly tuning: DriverTuning;
  /** False: the build that must fail (evidence.md, rule 1). */
  readonly sync: boolean;
  readonly onStatus: (id: MemberId, status: RaftStatus) => void;
  readonly onFatal: (id: MemberId, error: unknown) => void;
}

interface Life {
  readonly driver: RaftDriver;
  readonly state: EchoStateMachine;
}

/**
 * One member: its disk outlives its lives; each life runs the product's driver, core, codec and log store.
 */
export class SimMember {
  readonly id: MemberId;
  readonly disk: MemoryDisk;
  /** Milliseconds that a synced write takes. */
  diskMs = 1;
  readonly #parts: SimMemberParts;
  #life: Life | undefined;
  #lives = 0;
  /** What the state machine has on disk at least, and with what it starts next. */
  #keptEntries = 0;
  #state = new EchoStateMachine();
  #held: { readonly timers: (() => void)[]; readonly rest: (() => void)[] } | undefined;

  constructor(parts: SimMemberParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.disk = new MemoryDisk({
      later: (run) => {
        parts.loop.after(this.diskMs * (0.5 + parts.chance.next()), run);
      },
    });
  }

  get running(): Life | undefined {
    return this.#life;
  }

  /**
   * Messages, timers and turns of this life, or of none once it is over; held back while the process is
   * stopped.
   */
  #inLife(life: number, kind: 'timers' | 'rest', run: () => void): void {
    if (life !== this.#lives) return;
    if (this.#held === undefined) {
      run();
      return;
    }
    this.#held[kind].push(() => {
      this.#inLife(life, kind, run);
    });
  }

  /** Boots the member; `check` looks after each event meanwhile. */
  async start(check: () => void): Promise<void> {
    const { loop, chance, network, members, id } = this.#parts;
    this.#lives++;
    const life = this.#lives;
    const clock: Clock = {
      monotonicMs: () => loop.nowMs,
      wallMs: () => loop.nowMs,
      after: (delayMs, run) =>
        loop.after(delayMs, () => {
          this.#inLife(life, 'timers', run);
        }),
    };
    const state = this.#state;
    const store = await this.#whileTimePasses(check, () =>
      openLogStore(this.disk.open(), this.disk.openWitness(), {
        clusterId: CLUSTER,
        memberId: id,
        folder: `member ${id}`,
        mustExist: false,
        sync: this.#parts.sync,
      }),
    );
    const transport = {
      send: (to: MemberId, frame: Uint8Array): void => {
        if (life === this.#lives) network.send(id, to, frame);
      },
      onFrame: (receive: (from: MemberId, frame: Uint8Array) => void): void => {
        network.attach(id, (from, frame) => {
          this.#inLife(life, 'rest', () => {
            receive(from, frame);
          });
        });
      },
      onPeerGone: (hear: (gone: MemberId) => void): void => {
        network.attachMourner(id, (gone) => {
          this.#inLife(life, 'rest', () => {
            hear(gone);
          });
        });
      },
      close: () => Promise.resolve(),
    };
    const driver = new RaftDriver({
      options: {
        clusterId: CLUSTER,
        memberId: id,
        initialMembers: members,
        folder: '',
        transport,
        stateMachine: state,
        clock,
        log: quiet,
        onStatus: (status) => {
          this.#parts.onStatus(id, status);
        },
        onFatal: (error) => {
          this.#parts.onFatal(id, error);
        },
      },
      store,
      seed: chance.between(0, 2 ** 32 - 1),
      laterTurn: (run) => {
        loop.after(0, () => {
          this.#inLife(life, 'rest', run);
        });
      },
      tuning: this.#parts.tuning,
    });
    this.#life = { driver, state };
  }

  /**
   * Power is lost. Some of the unsynced writes may have reached the disk; the state machine's are lost
   * likewise.
   */
  crash(): void {
    const { chance, network } = this.#parts;
    const life = must(this.#life, 'a running member');
    this.#lives++;
    this.#life = undefined;
    this.#held = undefined;
    network.attach(this.id, undefined);
    this.disk.crash(chance.between(0, this.disk.unsyncedWrites), chance.hits(0.2));
    this.#keptEntries = chance.between(this.#keptEntries, life.state.applied.length);
    this.#state = new EchoStateMachine();
    this.#state.applied.push(...life.state.applied.slice(0, this.#keptEntries));
  }

  /** SIGSTOP for a while. Then timers fire first and what waited in the sockets is read after, as in Node. */
  stall(ms: number): void {
    if (this.#held !== undefined) return;
    const held = { timers: [], rest: [] };
    this.#held = held;
    this.#parts.loop.after(ms, () => {
      if (this.#held === held) this.#wake(held);
    });
  }

  #wake(held: { readonly timers: (() => void)[]; readonly rest: (() => void)[] }): void {
    this.#held = undefined;
    for (const run of [...held.timers, ...held.rest]) this.#parts.loop.after(0, run);
  }

  /** A new log writes its identity when it is opened: virtual time has to pass for it. */
  async #whileTimePasses<T>(check: () => void, open: () => Promise<T>): Promise<T> {
    const { loop } = this.#parts;
    const state = { done: false };
    const opened = open().finally(() => {
      state.done = true;
    });
    for (let step = 0; !state.done && step < 1_000; step++) await loop.advance(1, check);
    return opened;
  }
}
