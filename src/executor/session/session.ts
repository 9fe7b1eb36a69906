/**
 * An executor's presence at the cluster: one stream to the leader, found by redirects, kept alive by
 * heartbeats, replaced as soon as it breaks. Work goes on while there is no stream; what it yields is told
 * after the next welcome.
 */
import { sleep, TidemarkError, toTidemarkError } from '../../base/index.ts';
import { Addresses } from './addresses.ts';
import { Connection, type ConnectionEnd } from './connection.ts';
import type { Outgoing } from './outbox.ts';
import type { ClusterKnowledge, SessionOptions } from './protocol.ts';

const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 500;
const FAILURES_PER_LINE = 20;

export class Session {
  readonly #options: SessionOptions;
  readonly #addresses: Addresses;
  readonly #known: ClusterKnowledge = { clusterId: '', leaderTerm: 0n };
  #connection: Connection | undefined;
  #failures = 0;
  /** The code of the failure that was logged last. */
  #told = '';

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#addresses = new Addresses(options.coordinators);
  }

  /** The cluster's id; empty before the first welcome. */
  get clusterId(): string {
    return this.#known.clusterId;
  }

  /** True while a leader has accepted this executor and answers its heartbeats. */
  get connected(): boolean {
    return this.#connection?.welcomed === true;
  }

  /** Sends to the leader, if there is one now. What must not be lost is kept by the caller. */
  send(body: Outgoing): void {
    this.#connection?.send(body);
  }

  /** Connects, and reconnects whenever the stream ends, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    // A function, because what the signal says changes during every wait.
    const stopped = (): boolean => signal.aborted;
    while (!stopped()) {
      const address = this.#addresses.next();
      const end = await this.#connectOnce(address, signal);
      if (stopped()) return;
      this.#note(address, end);
      await this.#pause(signal);
    }
  }

  async #connectOnce(address: string, signal: AbortSignal): Promise<ConnectionEnd> {
    const connection = new Connection(address, this.#options, this.#known, {
      onWelcome: (welcome) => {
        this.#failures = 0;
        this.#told = '';
        this.#addresses.prefer(address);
        this.#options.log.info(
          { coordinator: address, executorId: String(welcome.executorId), term: String(welcome.leaderTerm) },
          'connected to the leader',
        );
        this.#options.handlers.onWelcome(welcome);
      },
    });
    this.#connection = connection;
    const onAbort = (): void => {
      connection.goodbye();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await connection.ended;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#connection = undefined;
    }
  }

  #note(address: string, end: ConnectionEnd): void {
    if (end.type === 'redirect') {
      const known = this.#addresses.redirected(end.redirect);
      this.#failures = known ? Math.min(this.#failures, 1) + 1 : this.#failures + 1;
      return;
    }
    this.#failures += 1;
    this.#addresses.failed(address);
    const error = end.error ?? new TidemarkError('NOT_LEADER', 'the coordinator ended the stream');
    // Several times a second for as long as there is no leader: the first of a kind is told, and then a few.
    if (this.#told === error.code && this.#failures % FAILURES_PER_LINE !== 0) return;
    this.#told = error.code;
    this.#options.log.warn(
      { coordinator: address, code: error.code, error: error.message, failures: this.#failures },
      'no stream to the leader',
    );
  }

  /** A first redirect is followed at once; whatever happens again and again is slowed down. */
  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#failures <= 1) return;
    const bound = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (this.#failures - 2));
    try {
      await sleep(this.#options.clock, bound * (0.5 + this.#options.random() / 2), signal);
    } catch (error) {
      if (!signal.aborted) throw toTidemarkError(error);
    }
  }
}
