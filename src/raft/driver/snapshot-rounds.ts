/**
 * Counts the snapshots that a follower was sent without having caught up in between. One is the price of a
 * long absence; a third says that something keeps it from ever catching up, and that somebody must look.
 */
import { LIMITS, mutated, type LogIndex, type MemberId } from '../../base/index.ts';
import type { RaftLogger } from '../types.ts';

interface Rounds {
  count: number;
  /** Where the leader's log ended when the last one began: a follower that has this has caught up. */
  goal: LogIndex;
}

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

  /** To be called with what the followers hold; whoever is none any more is forgotten. */
  follow(followers: readonly { readonly id: MemberId; readonly match: LogIndex }[]): void {
    for (const [id, { goal }] of this.#rounds) {
      const follower = followers.find((one) => one.id === id);
      if (follower === undefined || follower.match >= goal) this.#rounds.delete(id);
    }
  }
}
