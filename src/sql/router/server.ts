/** One server of a group: what it last said of itself, its breaker, and what is under way on it. */
import {
  isTidemarkError,
  mutated,
  type TidemarkError,
  toTidemarkError,
  type Clock,
} from '../../base/index.ts';
import type { SqlConnection, SqlEngine } from '../engine.ts';
import { Breaker, type BreakerState } from './breaker.ts';
import { askServer, type ServerAnswer } from './role-question.ts';

/** A server that does not say what it is within this time counts as failed once. */
const ANSWER_MS = 1_500;
/** A replica further behind is asked after the primary. */
const LAG_MAX_MS = 2_000;
/** So long a replica that missed a window goes behind those that did not. */
const MISSED_MS = 100;

/** As metrics show it. */
export interface ServerState {
  /** host:port/database. */
  readonly server: string;
  readonly role: 'primary' | 'replica' | 'deposed' | 'unordered' | 'unknown';
  readonly breaker: BreakerState;
  readonly lagMs: number | undefined;
  readonly inFlight: number;
}

export interface NamedEngine {
  readonly label: string;
  readonly engine: SqlEngine;
}

export class GroupServer {
  readonly label: string;
  readonly engine: SqlEngine;
  readonly breaker: Breaker;
  /** Connections that are used for work now; dropped when the server is given up or loses its role. */
  readonly reading = new Set<SqlConnection>();
  readonly writing = new Set<SqlConnection>();
  answer: ServerAnswer | undefined;
  /** When it was first seen to take writes after it had taken none; undefined if that was never seen. */
  promotedMs: number | undefined;
  #wasWritable: boolean | undefined;
  readonly #clock: Clock;
  #missedMs = Number.NEGATIVE_INFINITY;
  #question: SqlConnection | undefined;

  constructor({ label, engine }: NamedEngine, clock: Clock) {
    this.label = label;
    this.engine = engine;
    this.breaker = new Breaker(clock);
    this.#clock = clock;
  }

  get inFlight(): number {
    return this.reading.size + this.writing.size;
  }

  /** Whether it may be asked for a window that a replica should have. */
  get isReplica(): boolean {
    if (this.answer === undefined || this.answer.writable) return false;
    return this.answer.inOrder || mutated('sql.unorderedReplicaIsRead');
  }

  get isBehind(): boolean {
    const lagging = (this.answer?.lagMs ?? 0) > LAG_MAX_MS;
    return lagging || this.#clock.monotonicMs() - this.#missedMs < MISSED_MS;
  }

  /** It did not show something that it should have got by now. */
  missed(): void {
    this.#missedMs = this.#clock.monotonicMs();
  }

  /** Asks it what it is. Whatever goes wrong is its failure, and is answered as undefined. */
  async ask(): Promise<void> {
    const abort = new AbortController();
    const cancel = this.#clock.after(ANSWER_MS, () => {
      abort.abort();
      this.#question?.destroy();
    });
    try {
      this.#question ??= await this.engine.connect({ purpose: 'role', signal: abort.signal });
      this.#answered(await askServer(this.#question));
    } catch (error) {
      this.hangUp();
      this.noteFailure(toTidemarkError(error));
    } finally {
      cancel();
    }
  }

  /** Ends the connection on which it is asked. */
  hangUp(): void {
    this.#question?.destroy();
    this.#question = undefined;
  }

  /** Notes an error of an attempt to connect or of a question; what a living server refuses is none. */
  noteFailure(error: TidemarkError): void {
    if (!isTidemarkError(error, 'DB_UNREACHABLE', 'CANCELLED') || !this.breaker.failed()) return;
    // What it last said is not true any more, and what hangs on it must go elsewhere.
    this.answer = undefined;
    this.dropAll();
  }

  dropWriters(): void {
    for (const connection of [...this.writing]) connection.destroy();
  }

  dropAll(): void {
    this.dropWriters();
    for (const connection of [...this.reading]) connection.destroy();
  }

  #answered(answer: ServerAnswer): void {
    this.breaker.succeeded();
    if (!answer.writable) this.promotedMs = undefined;
    else if (this.#wasWritable === false) this.promotedMs = this.#clock.monotonicMs();
    this.#wasWritable = answer.writable;
    this.answer = answer;
  }
}
