/**
 * Keeps a client's knowledge of the members fresh while it lives: the endpoints that it was given may all
 * have been replaced by the time that it needs another one. (etcd's clients do it with `AutoSyncInterval`.)
 */
import { TidemarkError } from '../base/index.ts';
import type { StatusReply } from '../wire/index.ts';

/** Members are replaced by hand, one at a time: this is often enough to see each of them. */
export const MEMBERS_EVERY_MS = 10_000;

export interface MemberWatchParts {
  /** Asks some coordinator for its status. */
  readonly ask: () => Promise<StatusReply>;
  readonly learn: (clientAddresses: readonly string[]) => void;
}

export class MemberWatch {
  readonly #parts: MemberWatchParts;
  #timer: NodeJS.Timeout | undefined;
  #newest = { clusterId: '', index: -1n };

  constructor(parts: MemberWatchParts) {
    this.#parts = parts;
  }

  /** Asks from now on. It keeps no process alive. */
  begin(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#look(), MEMBERS_EVERY_MS);
    this.#timer.unref();
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    try {
      this.#take(await this.#parts.ask());
    } catch (error) {
      // The next round asks another one.
      if (!(error instanceof TidemarkError)) throw error;
    }
  }

  /** A member that was away tells of an older configuration. */
  #take({ clusterId, configurationIndex, members }: StatusReply): void {
    const older = clusterId === this.#newest.clusterId && configurationIndex < this.#newest.index;
    if (clusterId === '' || members.length === 0 || older) return;
    this.#newest = { clusterId, index: configurationIndex };
    this.#parts.learn(members.map(({ clientAddress }) => clientAddress));
  }
}
