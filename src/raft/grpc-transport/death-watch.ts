/**
 * Tells a process that has ended from one that is silent (design, section 3): when every stream with a peer
 * has closed, its address is dialled once more, plainly. A refused connection means that nobody listens
 * there. When it was started again so quickly that the address answers, the new process says so itself: its
 * hello names another incarnation. A stopped process, a busy one and a cut network do neither; they are left
 * to the election timeout.
 */
import { connect } from 'node:net';
import { isTidemarkError, mutated, parseAddress, type MemberId } from '../../base/index.ts';

const PROBE_MS = 250;

export interface DeathWatchParts {
  readonly addressOf: (id: MemberId) => string | undefined;
  /** Whether any stream with the peer is open, in either direction. */
  readonly connected: (id: MemberId) => boolean;
  readonly onGone: (id: MemberId) => void;
}

export class DeathWatch {
  readonly #parts: DeathWatchParts;
  readonly #probing = new Set<MemberId>();
  readonly #incarnations = new Map<MemberId, string>();
  #closed = false;

  constructor(parts: DeathWatchParts) {
    this.#parts = parts;
  }

  /** A stream with the peer has closed. */
  streamClosed(id: MemberId): void {
    if (this.#closed || this.#probing.has(id) || this.#parts.connected(id)) return;
    const target = this.#targetOf(id);
    if (target === undefined) return;
    this.#probing.add(id);
    const socket = connect({ ...target, timeout: PROBE_MS });
    const end = (gone: boolean): void => {
      socket.destroy();
      if (!this.#probing.delete(id)) return;
      if (gone && !this.#closed && !this.#parts.connected(id)) this.#parts.onGone(id);
    };
    socket.on('connect', () => {
      end(false);
    });
    socket.on('timeout', () => {
      end(false);
    });
    socket.on('error', (error: Error & { readonly code?: string }) => {
      end(error.code === 'ECONNREFUSED');
    });
  }

  /** A peer has said which start of it this is: with another one before, that process has ended. */
  greeted(id: MemberId, incarnation: string): void {
    const before = this.#incarnations.get(id);
    this.#incarnations.set(id, incarnation);
    if (before === undefined || before === incarnation || mutated('raft.incarnationIgnored')) return;
    if (!this.#closed) this.#parts.onGone(id);
  }

  close(): void {
    this.#closed = true;
  }

  /** An address that cannot be understood is the dialler's to complain about. */
  #targetOf(id: MemberId): { readonly host: string; readonly port: number } | undefined {
    const address = this.#parts.addressOf(id);
    if (address === undefined) return undefined;
    try {
      const { host, port } = parseAddress(address, 'peer address');
      return { host, port };
    } catch (error) {
      if (isTidemarkError(error)) return undefined;
      throw error;
    }
  }
}
