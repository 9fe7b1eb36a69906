/**
 * How long the disk takes for the writes of the log. A leader whose disk hangs gives way: its heartbeats need
 * no disk and would keep everyone waiting for it (hashicorp raft 503).
 */
import { LIMITS, mutated } from '../../base/index.ts';
import type { Input, RaftCore } from '../core/index.ts';
import type { RaftOptions, WriteTimes } from '../types.ts';
import { WriteTimeRing } from './write-times.ts';

const ELECTION_MS = LIMITS.raftElectionTicks * LIMITS.raftTickMs;

/**
 * The longest election timeout: had this leader been silent, another would lead by now. It hands over to a
 * follower whose disk has the whole log; where all disks are as slow there is none, and the lead stays.
 */
const HAND_OVER_MS = 2 * ELECTION_MS;

/** Nobody could take over: two whole elections could have been held. */
const STEP_DOWN_MS = 4 * ELECTION_MS;

export interface DiskWatchParts {
  readonly core: RaftCore;
  readonly options: Pick<RaftOptions, 'clock' | 'log'>;
  readonly take: (input: Input) => void;
}

export class DiskWatch {
  readonly #parts: DiskWatchParts;
  readonly #times = new WriteTimeRing();
  #beganMs: number | undefined;

  constructor(parts: DiskWatchParts) {
    this.#parts = parts;
  }

  began(): void {
    this.#beganMs = this.#parts.options.clock.monotonicMs();
  }

  /** The write under way is durable. */
  ended(): void {
    this.#times.add(this.#hangsMs);
    this.#beganMs = undefined;
  }

  times(): WriteTimes {
    return this.#times.read();
  }

  tick(): void {
    const { core, options, take } = this.#parts;
    const hangsMs = Math.round(this.#hangsMs);
    if (hangsMs < HAND_OVER_MS || core.role !== 'leader' || mutated('raft.noDiskWatch')) return;
    if (hangsMs < STEP_DOWN_MS) {
      if (core.transferee === undefined) this.#handOver(hangsMs);
      return;
    }
    options.log.warn({ hangsMs }, 'the disk hangs: this node gives up the lead');
    take({ type: 'step-down' });
  }

  #handOver(hangsMs: number): void {
    const { core, options, take } = this.#parts;
    take({ type: 'transfer', to: undefined });
    const to = core.transferee;
    if (to !== undefined) options.log.warn({ hangsMs, to }, 'the disk hangs: this node hands over the lead');
  }

  get #hangsMs(): number {
    return this.#beganMs === undefined ? 0 : this.#parts.options.clock.monotonicMs() - this.#beganMs;
  }
}
