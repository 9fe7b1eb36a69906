/**
 * Turns the stream of raft statuses into the moments that matter to the parts of a leader, each told once.
 *
 * A leader that was stalled must prove itself again before it decides anything (design section 3). Until it
 * has, it only pauses: its executors stay connected, for they would find no other leader in this term.
 */
import type { RaftStatus } from '../raft/index.ts';

export interface LeadershipHandlers {
  /** This node leads in `term`, proved: decisions may begin. */
  readonly onLeader: (term: number) => void;
  /** Decisions must end. Comes before {@link onFollower}, or alone while the node proves itself again. */
  readonly onPaused: () => void;
  /** The term in which this node led is over. */
  readonly onFollower: () => void;
}

export class Leadership {
  /** Leader changes that this node has seen. */
  changes = 0;
  #handlers: LeadershipHandlers | undefined;
  #provedTerm = 0;
  #heldTerm = 0;
  #leaderId: number | undefined;
  #halted = false;

  /** True while decisions may be made. */
  get leads(): boolean {
    return this.#provedTerm !== 0;
  }

  /** Begins to tell; what happened before is told as it stands now. */
  begin(status: RaftStatus, handlers: LeadershipHandlers): void {
    this.#handlers = handlers;
    this.follow(status);
  }

  /** Keeps the lead, but decides nothing while nobody knows whose state is right. */
  halt(halted: boolean, status: RaftStatus): void {
    this.#halted = halted;
    this.follow(status);
  }

  follow(status: RaftStatus): void {
    if (status.leaderId !== undefined && status.leaderId !== this.#leaderId) {
      this.#leaderId = status.leaderId;
      this.changes += 1;
    }
    if (this.#handlers === undefined) return;
    const proved = status.leading && !this.#halted ? status.term : 0;
    const held = status.role === 'leader' ? status.term : 0;
    if (this.#provedTerm !== 0 && this.#provedTerm !== proved) {
      this.#provedTerm = 0;
      this.#handlers.onPaused();
    }
    if (this.#heldTerm !== 0 && this.#heldTerm !== held) this.#handlers.onFollower();
    this.#heldTerm = held;
    if (proved !== 0 && this.#provedTerm !== proved) {
      this.#provedTerm = proved;
      this.#handlers.onLeader(proved);
    }
  }
}
