/** One executor's stream to this leader: what was sent on it and what it said last. In memory only. */
import { LIMITS, TidemarkError } from '../../base/index.ts';
import type { ExecutorObservation } from '../../scheduler/index.ts';
import type { AuditFound, Definition, GuardedStream, ToExecutor, ValidateOutcome } from '../../wire/index.ts';
import { AuditLooks } from '../clients/audit-looks.ts';
import type { KnownJob } from '../clients/known-job.ts';

/** Documents travel in messages of at most this many characters, well below the limit of a gRPC message. */
const DEFINITIONS_CHARACTERS_MAX = LIMITS.grpcMessageBytesMax / 8;

export type Send = NonNullable<ToExecutor['body']>;

export class ExecutorLink {
  readonly executorId: number;
  readonly name: string;
  readonly incarnation: string;
  /** The term in which it was welcomed; the stream ends with that term. */
  readonly term: number;
  lastHeartbeatMs: number;
  /** Tokens of the tasks and epochs of the collectors that it says it works on. */
  running: ReadonlySet<string>;
  /** By token, rows that a task has computed so far. */
  rows: ReadonlyMap<string, number> = new Map();
  readonly collecting: Set<string>;
  readonly #connectedSinceMs: number;
  readonly #stream: GuardedStream<ToExecutor>;
  readonly #defined = new Map<string, string>();
  readonly #validations = new Map<bigint, (outcome: ValidateOutcome | undefined) => void>();
  readonly #looks: AuditLooks;
  #lastRequest = 0n;
  #closed = false;

  constructor(input: {
    readonly executorId: number;
    readonly name: string;
    readonly incarnation: string;
    readonly term: number;
    readonly stream: GuardedStream<ToExecutor>;
    readonly nowMs: number;
    readonly running: readonly string[];
    readonly collecting: readonly string[];
  }) {
    this.executorId = input.executorId;
    this.name = input.name;
    this.incarnation = input.incarnation;
    this.term = input.term;
    this.#connectedSinceMs = input.nowMs;
    this.lastHeartbeatMs = input.nowMs;
    this.running = new Set(input.running);
    this.collecting = new Set(input.collecting);
    this.#stream = input.stream;
    this.#looks = new AuditLooks(input.name);
  }

  get connected(): boolean {
    return !this.#closed;
  }

  observation(): ExecutorObservation {
    return {
      executorId: this.executorId,
      connected: this.connected,
      connectedSinceMs: this.#connectedSinceMs,
      lastHeartbeatMs: this.lastHeartbeatMs,
      running: this.running,
      rows: this.rows,
      collecting: this.collecting,
    };
  }

  send(body: Send): void {
    if (!this.#closed) this.#stream.write({ body });
  }

  /** Sends each document once per stream before its first use, and again if it has changed. */
  define(definitions: readonly Definition[]): void {
    let fresh: Definition[] = [];
    let characters = 0;
    const flush = (): void => {
      if (fresh.length > 0) this.send({ $case: 'definitions', value: { definitions: fresh } });
      fresh = [];
      characters = 0;
    };
    for (const definition of definitions) {
      if (this.#defined.get(definition.id) === definition.json) continue;
      this.#defined.set(definition.id, definition.json);
      if (characters + definition.json.length > DEFINITIONS_CHARACTERS_MAX) flush();
      fresh.push(definition);
      characters += definition.json.length;
    }
    flush();
  }

  /**
   * Lets the executor check a job file, beside what is declared; undefined if the stream ended first.
   * @throws TidemarkError `DB_UNREACHABLE` when it did not answer within `deadlineMs`.
   */
  validate(jobYaml: string, known: KnownJob, deadlineMs: number): Promise<ValidateOutcome | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    this.#lastRequest += 1n;
    const request = this.#lastRequest;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#validations.delete(request);
        reject(slowValidation(this.name, deadlineMs));
      }, deadlineMs);
      this.#validations.set(request, (outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      });
      this.define(known.definitions);
      const [knownSources, knownReports] = [[...known.sources], [...known.reports]];
      this.send({ $case: 'validate', value: { request, jobYaml, knownSources, knownReports } });
    });
  }

  validated(outcome: ValidateOutcome): void {
    this.#validations.get(outcome.request)?.(outcome);
    this.#validations.delete(outcome.request);
  }

  /**
   * Lets the executor compare something once; each piece of what it finds goes to `onPiece`.
   * @throws TidemarkError `NO_EXECUTOR` when the stream ends before that, or nothing is said for too long.
   */
  look(order: (request: bigint) => Send, onPiece: (piece: AuditFound) => void): Promise<void> {
    this.#lastRequest += 1n;
    const done = this.#looks.begin(this.#lastRequest, onPiece);
    if (this.#closed) this.#looks.end();
    else this.send(order(this.#lastRequest));
    return done;
  }

  audited(piece: AuditFound): void {
    this.#looks.heard(piece);
  }

  /** Ends the stream in an orderly way, with a redirect to where the leader is, or with an error. */
  end(last: { readonly redirect: Send } | { readonly error: TidemarkError }): void {
    if (this.#closed) return;
    if ('redirect' in last) {
      this.send(last.redirect);
      this.#stream.end();
    } else {
      this.#stream.fail(last.error);
    }
    this.closed();
  }

  /** Settles what waits on this stream; called when it has ended, by whichever side. */
  closed(): void {
    this.#closed = true;
    this.running = new Set();
    for (const settle of this.#validations.values()) settle(undefined);
    this.#validations.clear();
    this.#looks.end();
  }
}

function slowValidation(name: string, deadlineMs: number): TidemarkError {
  return new TidemarkError(
    'DB_UNREACHABLE',
    `executor ${name} did not check the job within ${deadlineMs} ms`,
    {
      next: 'Look into its log; a database of the job may not answer.',
    },
  );
}
