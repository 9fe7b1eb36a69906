/**
 * The replicated state of a simulated member: the product's tables, store and snapshots on a simulated disk.
 * The oracles hear of every entry that it applied.
 */
import type { ClusterId } from '../../../src/base/index.ts';
import type { CommittedEntry, ReplicatedStateMachine, SnapshotCapability } from '../../../src/raft/index.ts';
import {
  ENTRY_FORMAT,
  openStateMachine,
  type DigestAt,
  type StateMachine,
} from '../../../src/statemachine/index.ts';
import type { SimDisk } from './disk.ts';
import type { ModelValue } from './model.ts';
import { pathOf } from './requests.ts';
import { openSimLevel } from './sim-level.ts';

const NOTHING = new Uint8Array(0);

export interface Applied {
  readonly entry: CommittedEntry;
  readonly reply: Uint8Array;
}

export interface SimStateParts {
  readonly disk: SimDisk;
  readonly clusterId: ClusterId;
  /** Rows come from the disk in pages of so many. */
  readonly pageRows: number;
  /** False: the log keeps everything, and nobody is sent a snapshot. */
  readonly snapshots: boolean;
  /** A snapshot took the place of an older state. */
  readonly onInstalled: () => void;
}

export class SimState implements ReplicatedStateMachine {
  readonly snapshots?: SnapshotCapability;
  readonly #machine: StateMachine;
  #applied: Applied[] = [];
  #installing = false;

  private constructor(machine: StateMachine, parts: SimStateParts) {
    this.#machine = machine;
    if (parts.snapshots) this.snapshots = this.#observed(machine.snapshots, parts.onInstalled);
  }

  /** @throws TidemarkError as `openStateMachine` does. */
  static async open(parts: SimStateParts): Promise<SimState> {
    const { disk, clusterId, pageRows } = parts;
    const openDatabase = openSimLevel(disk, pageRows);
    return new SimState(await openStateMachine({ folder: '', clusterId, openDatabase }), parts);
  }

  get appliedIndex(): number {
    return this.#machine.appliedIndex;
  }

  /** The digest as of the applied index. */
  get digest(): DigestAt | undefined {
    return this.#machine.digests().at(-1);
  }

  /** A snapshot is taking the place of the state. */
  get installing(): boolean {
    return this.#installing;
  }

  /** What a client of this member would read now. */
  read(key: string): ModelValue | undefined {
    const row = this.#machine.view().keyValues.get(pathOf(key));
    return row && { value: Buffer.from(row.value).toString(), revision: row.revision };
  }

  async apply(entries: readonly CommittedEntry[]): Promise<readonly Uint8Array[]> {
    // Tests of the driver propose plain text, which is answered with itself.
    const plain = (data: Uint8Array): boolean => data.length > 0 && data[0] !== ENTRY_FORMAT;
    const known = entries.map((entry) => (plain(entry.data) ? { ...entry, data: NOTHING } : entry));
    const answered = await this.#machine.apply(known);
    const replies = entries.map((entry, at) => (plain(entry.data) ? entry.data : (answered[at] ?? NOTHING)));
    entries.forEach((entry, at) => this.#applied.push({ entry, reply: replies[at] ?? NOTHING }));
    return replies;
  }

  whenFailed(listener: (error: unknown) => void): void {
    this.#machine.whenFailed(listener);
  }

  /** What was applied since the last call. */
  takeApplied(): readonly Applied[] {
    if (this.#applied.length === 0) return [];
    const applied = this.#applied;
    this.#applied = [];
    return applied;
  }

  #observed(capability: SnapshotCapability, onInstalled: () => void): SnapshotCapability {
    return {
      get installed() {
        return capability.installed;
      },
      flush: () => capability.flush(),
      read: () => capability.read(),
      prepare: async (chunks) => {
        const prepared = await capability.prepare(chunks);
        return {
          ...prepared,
          install: async () => {
            this.#installing = true;
            await prepared.install();
            this.#installing = false;
            onInstalled();
          },
        };
      },
    };
  }
}
