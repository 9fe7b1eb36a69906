/** Who is surely no member any more, asked for every frame of a peer. */
import type { Clock } from '../../base/index.ts';
import type { Configuration, RaftStatus } from '../../raft/index.ts';

/** A removal may be seen this much later: asking consensus for every frame would cost more than it gives. */
const LOOK_MS = 100;

export class CommittedMembers {
  readonly #status: () => RaftStatus | undefined;
  readonly #clock: Clock;
  #configuration: Configuration | undefined;
  #lookAtMs = 0;

  /** `status` is undefined while this member is starting. */
  constructor(status: () => RaftStatus | undefined, clock: Clock) {
    this.#status = status;
    this.#clock = clock;
  }

  /**
   * True if a configuration that is committed has given out this id and does not hold it: ids are never
   * given twice. A change that is not committed may still be undone.
   */
  isRemoved(id: number): boolean {
    this.#look();
    const configuration = this.#configuration;
    if (configuration === undefined || id >= configuration.nextMemberId) return false;
    return !configuration.members.some((member) => member.id === id);
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#lookAtMs) return;
    this.#lookAtMs = nowMs + LOOK_MS;
    const status = this.#status();
    if (status !== undefined && status.commitIndex >= status.configuration.index)
      this.#configuration = status.configuration;
  }
}
