/** Where this node stands: its status as others see it, and what of it has changed. */
import { LIMITS, type LogIndex, type MemberId } from '../../base/index.ts';
import type { RaftCore } from '../core/index.ts';
import type { FollowerStatus, RaftOptions, RaftStatus } from '../types.ts';

export interface StandingParts {
  readonly core: RaftCore;
  readonly options: RaftOptions;
  readonly appliedIndex: () => LogIndex;
  /** Snapshots that a follower was sent since it had last caught up. */
  readonly snapshotsTo: (id: MemberId) => number;
}

export interface StandingChange {
  readonly now: RaftStatus;
  /** This node led until now, in an earlier term or role. */
  readonly leadLost: boolean;
}

export class Standing {
  readonly #parts: StandingParts;
  #told: RaftStatus | undefined;
  #contacts = 0;
  #contactMs: number | undefined;

  constructor(parts: StandingParts) {
    this.#parts = parts;
  }

  /** `awake` is false while this node cannot vouch for itself: it stops, or was stalled. */
  status(awake: boolean): RaftStatus {
    const { core, options, appliedIndex } = this.#parts;
    return {
      clusterId: options.clusterId,
      memberId: options.memberId,
      role: core.role,
      term: core.term,
      leaderId: core.leaderId,
      leading: awake && this.#leads,
      commitIndex: core.commitIndex,
      appliedIndex: appliedIndex(),
      lastIndex: core.lastIndex,
      configuration: core.configuration,
      members: core.configuration.members,
      followers: this.#followers(),
      removed: core.removed,
      leaderContactMs: this.#sinceContact(),
    };
  }

  /** Returns what to tell if role, term, leader, members or `leading` changed since it was last asked. */
  change(awake: boolean): StandingChange | undefined {
    this.#noteContact();
    const { core } = this.#parts;
    const before = this.#told;
    const office = before?.role !== core.role || before.term !== core.term;
    if (!office && this.#isTold(before, awake)) return undefined;
    this.#told = this.status(awake);
    return { now: this.#told, leadLost: office && before?.role === 'leader' };
  }

  /** Whether this node leads, or follows a leader: then it can serve callers, or send them on. */
  get settled(): boolean {
    const { role, leaderId } = this.#parts.core;
    return role === 'leader' ? this.#leads : role === 'follower' && leaderId !== undefined;
  }

  #isTold({ leaderId, leading, configuration, removed }: RaftStatus, awake: boolean): boolean {
    const { core } = this.#parts;
    if (configuration !== core.configuration || removed !== core.removed) return false;
    return leaderId === core.leaderId && leading === (awake && this.#leads);
  }

  get #leads(): boolean {
    const { core, appliedIndex } = this.#parts;
    return core.established && appliedIndex() >= core.ownTermIndex;
  }

  #followers(): readonly FollowerStatus[] {
    const { core, snapshotsTo } = this.#parts;
    const { lastIndex, followers } = core;
    return followers.map(({ id, state, match, silentTicks }) => ({
      id,
      state,
      match,
      lag: lastIndex - match,
      silentMs: silentTicks * LIMITS.raftTickMs,
      snapshots: snapshotsTo(id),
    }));
  }

  #noteContact(): void {
    const { core, options } = this.#parts;
    if (core.leaderContacts === this.#contacts) return;
    this.#contacts = core.leaderContacts;
    this.#contactMs = options.clock.monotonicMs();
  }

  #sinceContact(): number | undefined {
    const { core, options } = this.#parts;
    if (core.role === 'leader') return 0;
    return this.#contactMs === undefined ? undefined : options.clock.monotonicMs() - this.#contactMs;
  }
}
