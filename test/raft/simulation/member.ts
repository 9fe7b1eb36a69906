import { clusterId, decode, isTidemarkError, type MemberId } from '../../../src/base/index.ts';
import { startOnStore, type DriverTuning, type RaftDriver } from '../../../src/raft/driver/index.ts';
import type { Member, RaftOptions, RaftStatus } from '../../../src/raft/index.ts';
import { openLogStore, type KeyValueBatch, type LogStore } from '../../../src/raft/log-store/index.ts';
import { STATE_FORMAT } from '../../../src/statemachine/index.ts';
import { SimClock } from './clock.ts';
import { SimDisk } from './disk.ts';
import type { Chance, SimLoop } from './loop.ts';
import type { Receive, SimNetwork } from './network.ts';
import { SimState } from './state.ts';

const CLUSTER = clusterId('0123456789abcdef0123456789abcdef');
const quiet = { info: () => undefined, warn: () => undefined };

export interface SimMemberParts {
  readonly id: MemberId;
  readonly members: readonly Member[];
  readonly loop: SimLoop;
  readonly chance: Chance;
  /** Apart, so that elections do not change with what else chance is asked for. */
  readonly seeds: Chance;
  readonly network: SimNetwork;
  readonly tuning: DriverTuning;
  /** False: the log keeps everything. */
  readonly snapshots: boolean;
  /** False: the build that must fail (evidence.md, rule 1). */
  readonly sync: boolean;
  readonly onStatus: (id: MemberId, status: RaftStatus) => void;
  readonly onFatal: (id: MemberId, error: unknown) => void;
  /** Hears of every write of the log that became durable. */
  readonly onDurable: (id: MemberId, batch: KeyValueBatch) => void;
  readonly onInstalled: (id: MemberId) => void;
}

const HEAD_KEY = Buffer.from('!head');

/** An unsynced write waits for a disk that takes longer than this. */
const SLOW_MS = 500;

interface Life {
  readonly driver: RaftDriver;
  readonly state: SimState;
}

type Held = Record<'timers' | 'rest', (() => void)[]>;

/**
 * One member: its disks outlive its lives; each life runs the product's driver, core, codec, log store and
 * state machine.
 */
export class SimMember {
  readonly id: MemberId;
  /** The log's. */
  readonly disk: SimDisk;
  readonly stateDisk: SimDisk;
  readonly clock: SimClock;
  /** Milliseconds that a synced write takes. */
  diskMs = 1;
  /** What was done to its disks, if anything: it may then refuse to start. */
  damage: string | undefined;
  /** Gives it a frame as if it came from that peer. */
  receive: Receive = () => undefined;
  /** Called once when a snapshot has been installed, before the log follows. */
  afterInstall: (() => void) | undefined;
  /** Its disk was found to be damaged: an operator has to replace it. */
  refused = false;
  readonly #parts: SimMemberParts;
  #life: Life | undefined;
  #lives = 0;
  #starting = false;
  /** Its log has been made: from then on an empty one is refused. */
  #exists = false;
  #held: Held | undefined;

  constructor(parts: SimMemberParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.clock = new SimClock(parts.loop);
    const later = (run: () => void, sync: boolean): void => {
      const waits = sync || this.diskMs > SLOW_MS;
      if (waits) parts.loop.after(this.diskMs * (0.5 + parts.chance.next()), run);
      else queueMicrotask(run);
    };
    this.disk = new SimDisk({
      later,
      onDurable: (batch) => {
        parts.onDurable(parts.id, batch);
      },
    });
    this.stateDisk = new SimDisk({ later });
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

  /** True from the beginning of a start to the end of its life. */
  get up(): boolean {
    return this.#life !== undefined || this.#starting;
  }

  /**
   * Boots the member; `check` looks after each event meanwhile. A disk that was damaged may be refused, and
   * then is for good; nothing was sent then. It may also lose its power or its disk on the way.
   */
  async start(check: () => void): Promise<'runs' | 'down' | 'refused'> {
    if (this.refused) return 'refused';
    this.#lives++;
    this.#starting = true;
    const life = this.#lives;
    try {
      await this.#whileTimePasses(check, life, () => this.#begin(life));
      return this.#life === undefined ? 'down' : 'runs';
    } catch (error) {
      if (isTidemarkError(error, 'STORAGE_FAILED') && this.failed) {
        this.crash();
        return 'down';
      }
      if (this.damage === undefined || !isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN')) throw error;
      this.crash();
      this.refused = true;
      return 'refused';
    } finally {
      if (life === this.#lives) this.#starting = false;
    }
  }

  /** True after a write has failed: whoever wrote must have ended itself. */
  get failed(): boolean {
    return this.disk.failed || this.stateDisk.failed;
  }

  /** The index that its state would stand at if power were lost now. */
  get durableState(): number {
    const stored = this.stateDisk.durable(HEAD_KEY);
    // A row ends in its checksum.
    const head = stored && decode(STATE_FORMAT, stored.subarray(0, -8), 'head of a state');
    return (head as { readonly appliedIndex: number } | undefined)?.appliedIndex ?? 0;
  }

  async #begin(life: number): Promise<void> {
    const { id, chance, seeds, snapshots, onInstalled } = this.#parts;
    const state = await SimState.open({
      disk: this.stateDisk,
      clusterId: CLUSTER,
      pageRows: chance.pick([1, 7, 1_000]),
      snapshots,
      onInstalled: () => {
        onInstalled(id);
        this.afterInstall?.();
        this.afterInstall = undefined;
      },
    });
    const store = await this.#openLog();
    this.#exists = true;
    const driver = await startOnStore(store, this.#options(life, state), {
      seed: seeds.between(0, 2 ** 32 - 1),
      laterTurn: (run) => {
        this.#parts.loop.after(0, () => {
          this.#inLife(life, 'rest', run);
        });
      },
      tuning: this.#parts.tuning,
    });
    if (life === this.#lives) this.#life = { driver, state };
  }

  #openLog(): Promise<LogStore> {
    const { id, sync } = this.#parts;
    const mustExist = this.#exists;
    const identity = { clusterId: CLUSTER, memberId: id, folder: `member ${id}` };
    return openLogStore(this.disk.open(), this.disk.openWitness(), { ...identity, mustExist, sync });
  }

  #options(life: number, state: SimState): RaftOptions {
    const { network, members, id } = this.#parts;
    const clock = this.clock.forLife((run) => {
      this.#inLife(life, 'timers', run);
    });
    const transport = {
      send: (to: MemberId, frame: Uint8Array): void => {
        if (life === this.#lives) network.send(id, to, frame);
      },
      onFrame: (receive: (from: MemberId, frame: Uint8Array) => void): void => {
        this.receive = (from, frame) => {
          this.#inLife(life, 'rest', () => {
            receive(from, frame);
          });
        };
        network.attach(id, this.receive);
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
    return {
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
    };
  }

  /** Power is lost. Some of the unsynced writes may have reached the disks; each loses its own. */
  crash(): { readonly lostWrites: number } {
    const { chance, network } = this.#parts;
    this.#lives++;
    this.#life = undefined;
    this.#starting = false;
    this.#held = undefined;
    network.attach(this.id, undefined);
    const unsynced = this.disk.unsyncedWrites;
    const kept = chance.between(0, unsynced);
    this.disk.crash(kept, chance.hits(0.2));
    this.stateDisk.crash(chance.between(0, this.stateDisk.unsyncedWrites));
    return { lostWrites: unsynced - kept };
  }

  /** SIGSTOP for a while. Then timers fire first and what waited in the sockets is read after, as in Node. */
  stall(ms: number): void {
    if (this.#held !== undefined) return;
    const held: Held = { timers: [], rest: [] };
    this.#held = held;
    this.#parts.loop.after(ms, () => {
      if (this.#held === held) this.#wake(held);
    });
  }

  /** SIGCONT. */
  wake(): void {
    if (this.#held !== undefined) this.#wake(this.#held);
  }

  #wake(held: Held): void {
    this.#held = undefined;
    for (const run of [...held.timers, ...held.rest]) this.#parts.loop.after(0, run);
  }

  /** Opening writes: virtual time has to pass for it. Returns early if the life ends meanwhile. */
  async #whileTimePasses(check: () => void, life: number, open: () => Promise<void>): Promise<void> {
    const { loop } = this.#parts;
    const state = { done: false };
    const note = (): void => {
      state.done = true;
    };
    const opened = open();
    opened.then(note, note);
    while (!state.done && life === this.#lives) {
      // One real turn at least, so that what is opened can ask for its next write.
      loop.after(0, () => undefined);
      await loop.advance(1, check);
    }
    if (state.done) await opened;
  }
}
