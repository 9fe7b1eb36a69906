import { TidemarkError, clusterId, isTidemarkError, must, type MemberId } from '../../../src/base/index.ts';
import { RaftDriver, type DriverTuning } from '../../../src/raft/driver/index.ts';
import type { Member, RaftStatus } from '../../../src/raft/index.ts';
import { openLogStore, type KeyValueBatch, type LogStore } from '../../../src/raft/log-store/index.ts';
import { SimClock } from './clock.ts';
import { SimDisk } from './disk.ts';
import type { Chance, SimLoop } from './loop.ts';
import type { SimNetwork } from './network.ts';
import { SimState } from './state.ts';

const CLUSTER = clusterId('0123456789abcdef0123456789abcdef');
const quiet = { info: () => undefined, warn: () => undefined };

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
  /** Hears of every write that became durable. */
  readonly onDurable: (id: MemberId, batch: KeyValueBatch) => void;
}

interface Life {
  readonly driver: RaftDriver;
  readonly state: SimState;
}

/**
 * One member: its disk outlives its lives; each life runs the product's driver, core, codec and log store.
 */
export class SimMember {
  readonly id: MemberId;
  readonly disk: SimDisk;
  readonly clock: SimClock;
  /** Milliseconds that a synced write takes. */
  diskMs = 1;
  /** What was done to its disk, if anything: it may then refuse to start. */
  damage: string | undefined;
  /** Its disk was found to be damaged: an operator has to replace it. */
  refused = false;
  readonly #parts: SimMemberParts;
  #life: Life | undefined;
  #lives = 0;
  /** What the state machine has on disk at least, and with what it starts next. */
  #keptEntries = 0;
  #state = new SimState();
  #held: { readonly timers: (() => void)[]; readonly rest: (() => void)[] } | undefined;

  constructor(parts: SimMemberParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.clock = new SimClock(parts.loop);
    this.disk = new SimDisk({
      later: (run) => {
        parts.loop.after(this.diskMs * (0.5 + parts.chance.next()), run);
      },
      onDurable: (batch) => {
        parts.onDurable(parts.id, batch);
      },
    });
  }

  /** How often it was started. */
  get lives(): number {
    return this.#lives;
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

  /**
   * Boots the member; `check` looks after each event meanwhile. A disk that was damaged may be refused, and
   * then is for good; nothing was sent then. Tells whether it runs.
   */
  async start(check: () => void): Promise<boolean> {
    if (this.refused) return false;
    this.#lives++;
    const life = this.#lives;
    try {
      const store = await this.#whileTimePasses(check, () => this.#openLog(life > 1));
      if (this.#state.appliedIndex > store.lastIndex)
        throw new TidemarkError('DATA_CORRUPT', `the state of member ${this.id} is ahead of its log`);
      this.#boot(store, life);
      return true;
    } catch (error) {
      if (this.damage === undefined || !isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN')) throw error;
      this.refused = true;
      return false;
    }
  }

  #openLog(mustExist: boolean): Promise<LogStore> {
    const { id, sync } = this.#parts;
    const folder = `member ${id}`;
    const identity = { clusterId: CLUSTER, memberId: id, folder };
    return openLogStore(this.disk.open(), this.disk.openWitness(), { ...identity, mustExist, sync });
  }

  #boot(store: LogStore, life: number): void {
    const { loop, chance, network, members, id } = this.#parts;
    const clock = this.clock.forLife((run) => {
      this.#inLife(life, 'timers', run);
    });
    const state = this.#state;
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
  crash(): { readonly lostWrites: number } {
    const { chance, network } = this.#parts;
    const life = must(this.#life, 'a running member');
    this.#lives++;
    this.#life = undefined;
    this.#held = undefined;
    network.attach(this.id, undefined);
    const unsynced = this.disk.unsyncedWrites;
    const kept = chance.between(0, unsynced);
    this.disk.crash(kept, chance.hits(0.2));
    this.#keptEntries = chance.between(this.#keptEntries, life.state.applied.length);
    this.#state = life.state.upTo(this.#keptEntries);
    return { lostWrites: unsynced - kept };
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

  /** SIGCONT. */
  wake(): void {
    if (this.#held !== undefined) this.#wake(this.#held);
  }

  #wake(held: { readonly timers: (() => void)[]; readonly rest: (() => void)[] }): void {
    this.#held = undefined;
    for (const run of [...held.timers, ...held.rest]) this.#parts.loop.after(0, run);
  }

  /** A new log writes its identity when it is opened: virtual time has to pass for it. */
  async #whileTimePasses<T>(check: () => void, open: () => Promise<T>): Promise<T> {
    const { loop } = this.#parts;
    const state = { done: false };
    const note = (): void => {
      state.done = true;
    };
    const opened = open();
    opened.then(note, note);
    for (let step = 0; !state.done && step < 1_000; step++) await loop.advance(1, check);
    return opened;
  }
}
