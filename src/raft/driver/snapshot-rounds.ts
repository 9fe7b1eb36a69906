/**
 * Counts the snapshots that a follower was sent without having caught up in between. One is the price of a
 * long absence; a third says that something keeps it from ever catching up, and that somebody must look.
 */
import { LIMITS, mutated, type ErrorCode, type LogIndex, type MemberId } from '../../base/index.ts';
import type { FollowerView } from '../core/index.ts';
import type { RaftLogger } from '../types.ts';

interface Rounds {
  count: number;
  /** Where the leader's log ended when the last one began: a follower that has this has caught up. */
  goal: LogIndex;
  refusals: number;
  /** Ticks until the next one may begin. */
  waitTicks: number;
}

/** After a refusal the leader waits for so long, doubled with each, up to a minute. */
const WAIT_TICKS = 1_000 / LIMITS.raftTickMs;
const WAIT_TICKS_MAX = 60 * WAIT_TICKS;

export class SnapshotRounds {
  readonly #log: RaftLogger;
  readonly #rounds = new Map<MemberId, Rounds>();

  constructor(log: RaftLogger) {
    this.#log = log;
  }

  of(id: MemberId): number {
    return this.#rounds.get(id)?.count ?? 0;
  }

  begin(peer: MemberId, stream: number, lastIndex: LogIndex): void {
    const inARow = this.of(peer) + 1;
    this.#rounds.set(peer, {
      count: mutated('raft.repeatedSnapshotsUnnoticed') ? 1 : inARow,
      goal: lastIndex,
      refusals: this.#rounds.get(peer)?.refusals ?? 0,
      waitTicks: 0,
    });
    this.#log.info({ peer, stream, inARow }, 'a follower is sent a snapshot');
    if (this.of(peer) < LIMITS.raftSnapshotsInARowAlarm) return;
    this.#log.warn(
      { peer, inARow },
      'a follower is sent one snapshot after another and never catches up: look for its refusals and ' +
        'restarts in its own log, and at its disk and its link; if they are too slow for what is written, ' +
        'write less until it has caught up',
    );
  }

  /** A follower cannot use what it is sent: the next one may be as bad, so it comes later and later. */
  refused(peer: MemberId, code: ErrorCode): void {
    const rounds = this.#rounds.get(peer);
    if (rounds === undefined) return;
    rounds.waitTicks = Math.min(WAIT_TICKS_MAX, WAIT_TICKS * 2 ** rounds.refusals);
    rounds.refusals++;
    this.#log.warn(
      { peer, code, refusals: rounds.refusals },
      'a follower refused the snapshot that it was sent: its own log says why. If it was damaged on its ' +
        'way or here, compare the members with `tidemark cluster digest` and hand the lead to a sound one',
    );
  }

  /** Whether a follower may be sent a snapshot now. */
  isDue(peer: MemberId): boolean {
    return (this.#rounds.get(peer)?.waitTicks ?? 0) === 0 || mutated('raft.refusedSnapshotAtOnce');
  }

  /** To be called at each tick, with what the followers hold; whoever is none any more is forgotten. */
  follow(followers: readonly Pick<FollowerView, 'id' | 'state' | 'match'>[]): void {
    for (const [id, rounds] of this.#rounds) {
      rounds.waitTicks = Math.max(0, rounds.waitTicks - 1);
      const follower = followers.find((one) => one.id === id);
      // One that lost its state, not its log, waits for a snapshot although it has all entries.
      const caughtUp = follower?.state !== 'snapshot' && (follower?.match ?? Infinity) >= rounds.goal;
      if (caughtUp) this.#rounds.delete(id);
    }
  }
}
