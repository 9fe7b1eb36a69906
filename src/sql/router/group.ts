/**
 * A group of servers, primary and replicas, behind the interface of one engine (design 6.4, 6.7).
 *
 * Who is the primary is found by asking, never told: `read_only` is asked of each server every two seconds
 * while the group is in use, and at once after a lost connection or a refused write. Work says what it needs
 * by how it is called: `use` and `connect` get the primary; `read` gets a replica, then the next, then the
 * primary. No SQL is looked at. No server is given up for good: its breaker lets a question through.
 */
import { isTidemarkError, mutated, TidemarkError, type Clock, type ErrorCode } from '../../base/index.ts';
import type { ConnectOptions, Dialect, EngineKind, SqlConnection, SqlEngine } from '../engine.ts';
import { RoutedConnection } from './routed-connection.ts';
import { GroupServer, type NamedEngine, type ServerState } from './server.ts';

const ASK_EVERY_MS = 2_000;
/** Answers older than this are not acted on: a group that was idle is asked first. */
const STALE_MS = 2 * ASK_EVERY_MS;
/** A group without a primary is not asked more often than this, however many wait for one. */
const ASK_AGAIN_MS = 100;
/** A group that nobody has used for so long is left alone. */
const IDLE_MS = 10_000;

export interface GroupLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

export interface GroupOptions {
  readonly clock: Clock;
  readonly log: GroupLog;
}

type Work<T> = (connection: SqlConnection) => Promise<T>;

interface RunOptions<T> {
  readonly purpose: string;
  readonly work: Work<T>;
  readonly signal: AbortSignal | undefined;
  readonly takerFailed?: () => void;
}

/** Opens nothing yet. `members` are all servers of the group, in any order. */
export class GroupEngine implements SqlEngine {
  readonly kind: EngineKind = 'mysql';
  readonly dialect: Dialect;
  readonly #servers: readonly GroupServer[];
  readonly #options: GroupOptions;
  readonly #warned = new Set<GroupServer>();
  #primary: GroupServer | undefined;
  #ambiguous = false;
  #round: Promise<void> | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;
  #usedMs = 0;
  #cancelNext: (() => void) | undefined;
  #closed = false;

  constructor(dialect: Dialect, members: readonly NamedEngine[], options: GroupOptions) {
    this.dialect = dialect;
    this.#servers = members.map((member) => new GroupServer(member, options.clock));
    this.#options = options;
  }

  /** Those that answer. */
  get endpoints(): readonly SqlEngine[] {
    return this.#servers.filter(({ answer }) => answer !== undefined).map(({ engine }) => engine);
  }

  states(): ServerState[] {
    return this.#servers.map((server) => ({
      server: server.label,
      role: this.#roleOf(server),
      breaker: server.breaker.state,
      lagMs: server.answer?.lagMs,
      inFlight: server.inFlight,
    }));
  }

  async use<T>(purpose: string, work: Work<T>, signal?: AbortSignal): Promise<T> {
    return this.#run(await this.#findPrimary(), 'use', { purpose, work, signal });
  }

  /** @throws TidemarkError the primary's own error where the work failed on all of them. */
  async read<T>(purpose: string, work: Work<T>, signal?: AbortSignal): Promise<T> {
    await this.#refresh();
    let last: TidemarkError | undefined;
    let ofPrimary: TidemarkError | undefined;
    for (const server of this.#readers()) {
      const taker = { failed: false };
      const takerFailed = (): void => void (taker.failed = true);
      try {
        return await this.#run(server, 'read', { purpose, work, signal, takerFailed });
      } catch (error) {
        // Who takes the rows would fail the same way whichever server they come from.
        const isOfTaker = taker.failed && !mutated('sql.takerFailureIsTheServers');
        if (isOfTaker || signal?.aborted === true || !mayDoElsewhere(error)) throw error;
        if (isTidemarkError(error, 'WINDOW_INCOMPLETE', 'STATE_BEHIND', 'TABLE_MISSING')) server.missed();
        last = error;
        if (server === this.#primary) ofPrimary = error;
      }
    }
    // What only replicas miss is not lost: without the primary's word nothing is known.
    throw ofPrimary ?? this.#noPrimary(last);
  }

  async connect(options: ConnectOptions): Promise<SqlConnection> {
    const server = await this.#findPrimary();
    let connection: SqlConnection;
    try {
      connection = await server.engine.connect(options);
    } catch (error) {
      this.#note(server, { error, connected: false, signal: options.signal });
      throw error;
    }
    const ended = (): void => {
      server.writing.delete(connection);
      options.signal?.removeEventListener('abort', ended);
    };
    server.writing.add(connection);
    options.signal?.addEventListener('abort', ended, { once: true });
    return new RoutedConnection(connection, this.#servers.indexOf(server), {
      failed: (error) => {
        this.#note(server, { error, connected: true, signal: options.signal });
      },
      ended,
    });
  }

  /** @throws TidemarkError `DB_FAILED` for an id that is not of this group, and those of the server. */
  async kill(connectionId: string): Promise<void> {
    const [, at = '', id = ''] = /^(\d+):(.*)$/.exec(connectionId) ?? [];
    const server = this.#servers[Number(at)];
    if (at === '' || server === undefined) {
      throw new TidemarkError('DB_FAILED', `not a connection id of a group: ${connectionId}`);
    }
    await server.engine.kill(id);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelNext?.();
    await this.#round;
    for (const server of this.#servers) {
      server.hangUp();
      server.dropAll();
    }
    await Promise.all(this.#servers.map(({ engine }) => engine.close()));
  }

  async #run<T>(server: GroupServer, way: 'use' | 'read', what: RunOptions<T>): Promise<T> {
    const { purpose, work, signal, takerFailed } = what;
    const busy = way === 'read' ? server.reading : server.writing;
    const seen = { connected: false };
    const failed = (error: unknown): void => {
      this.#note(server, { error, connected: seen.connected, signal });
    };
    const onServer = async (connection: SqlConnection): Promise<T> => {
      seen.connected = true;
      busy.add(connection);
      const ended = (): void => void busy.delete(connection);
      const watch = { failed, ended, ...(takerFailed === undefined ? {} : { takerFailed }) };
      try {
        return await work(new RoutedConnection(connection, this.#servers.indexOf(server), watch));
      } finally {
        busy.delete(connection);
      }
    };
    try {
      return await server.engine[way](purpose, onServer, signal);
    } catch (error) {
      if (!seen.connected) failed(error);
      throw error;
    }
  }

  /** A lost connection may have been killed on purpose: whether its server lives, the next question tells. */
  #note(
    server: GroupServer,
    event: {
      readonly error: unknown;
      readonly connected: boolean;
      readonly signal: AbortSignal | undefined;
    },
  ): void {
    const { error, connected, signal } = event;
    if (this.#closed || signal?.aborted === true) return;
    if (!isTidemarkError(error, 'DB_UNREACHABLE', 'DB_OUTCOME_UNKNOWN', 'DB_READ_ONLY')) return;
    if (!connected) server.noteFailure(error);
    if (mutated('sql.lostConnectionIsNoQuestion')) return;
    void this.#ask();
  }

  /** In the order in which they are tried; the primary is the last that should be. */
  #readers(): GroupServer[] {
    const replicas = this.#servers
      .filter((server) => server.isReplica && server.breaker.state !== 'open')
      .sort((a, b) => a.inFlight - b.inFlight);
    const primary = this.#primary === undefined ? [] : [this.#primary];
    const fresh = replicas.filter((server) => !server.isBehind || mutated('sql.laggingReplicaFirst'));
    const late = replicas.filter((server) => !fresh.includes(server));
    return [...fresh, ...primary, ...late];
  }

  async #findPrimary(): Promise<GroupServer> {
    await this.#refresh();
    const primary = this.#primary;
    if (primary === undefined) throw this.#noPrimary(undefined);
    return primary;
  }

  #noPrimary(cause: unknown): TidemarkError {
    const servers = this.#servers.map(({ label }) => label).join(', ');
    const more = cause === undefined ? {} : { cause };
    if (this.#closed) return new TidemarkError('STOPPING', `${servers}: closed`);
    if (this.#ambiguous) {
      return new TidemarkError('PRIMARY_AMBIGUOUS', `more than one takes writes: ${servers}`, {
        next: 'Set read_only on the one that is not the primary any more, or stop it.',
        ...more,
      });
    }
    return new TidemarkError('DB_UNREACHABLE', `none is known to take writes: ${servers}`, {
      next: 'See that one of them runs with read_only off, and that host and port are right.',
      ...more,
    });
  }

  /** Resolves when it is known, as of a short while ago at most, who is what. */
  async #refresh(): Promise<void> {
    const now = this.#options.clock.monotonicMs();
    this.#usedMs = now;
    this.#askLater();
    const age = now - this.#askedMs;
    if (age >= STALE_MS || (this.#primary === undefined && age >= ASK_AGAIN_MS)) await this.#ask();
  }

  #askLater(): void {
    if (this.#cancelNext !== undefined || this.#closed) return;
    this.#cancelNext = this.#options.clock.after(ASK_EVERY_MS, () => {
      this.#cancelNext = undefined;
      const idleMs = this.#options.clock.monotonicMs() - this.#usedMs;
      if (idleMs >= IDLE_MS && this.#servers.every(({ inFlight }) => inFlight === 0)) {
        for (const server of this.#servers) server.hangUp();
        return;
      }
      this.#askLater();
      void this.#ask();
    });
  }

  #ask(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#round ??= this.#askAll().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  /** All that may be asked; where that leaves no primary, the others too: nothing is left to be protected. */
  async #askAll(): Promise<void> {
    const closed = this.#servers.filter(({ breaker }) => breaker.state !== 'open');
    await Promise.all(closed.map((server) => server.ask()));
    if (!this.#servers.some(({ answer }) => answer?.writable === true)) {
      const open = this.#servers.filter((server) => !closed.includes(server));
      await Promise.all(open.map((server) => server.ask()));
    }
    this.#askedMs = this.#options.clock.monotonicMs();
    this.#decide();
  }

  /**
   * The one that takes writes. Of two, the one that was seen to begin to: the other has been replaced and
   * does not know it yet. Without having seen that nobody can tell, and none is used.
   */
  #decide(): void {
    const writable = this.#servers.filter(({ answer }) => answer?.writable === true);
    const promoted = writable.filter(({ promotedMs }) => promotedMs !== undefined);
    const newest = promoted.sort((a, b) => (b.promotedMs ?? 0) - (a.promotedMs ?? 0))[0];
    const guesses = mutated('sql.firstWritableIsPrimary');
    const primary = writable.length > 1 && !guesses ? newest : writable[0];
    this.#ambiguous = primary === undefined && writable.length > 1;
    this.#warnOfUnordered();
    if (primary === this.#primary) return;
    const { log } = this.#options;
    const fields = { primary: primary?.label, former: this.#primary?.label };
    if (primary === undefined) log.warn({ ...fields, ambiguous: this.#ambiguous }, 'no primary is known');
    else log.info(fields, 'primary found');
    if (!mutated('sql.formerPrimaryKeepsWriters')) this.#primary?.dropWriters();
    this.#primary = primary;
  }

  #warnOfUnordered(): void {
    for (const server of this.#servers) {
      if (server.answer?.inOrder !== false) this.#warned.delete(server);
      else if (!this.#warned.has(server)) {
        this.#warned.add(server);
        const code: ErrorCode = 'REPLICA_UNORDERED';
        const next = 'Set replica_preserve_commit_order on it.';
        this.#options.log.warn({ code, server: server.label, next }, 'a replica is used for nothing');
      }
    }
  }

  #roleOf(server: GroupServer): ServerState['role'] {
    if (server === this.#primary) return 'primary';
    if (server.answer === undefined) return 'unknown';
    if (server.answer.writable) return 'deposed';
    return server.answer.inOrder ? 'replica' : 'unordered';
  }
}

/** Failures of one server, or of one that is behind, and not of the work. */
function mayDoElsewhere(error: unknown): error is TidemarkError {
  return isTidemarkError(
    error,
    'WINDOW_INCOMPLETE',
    'STATE_BEHIND',
    'TABLE_MISSING',
    'DB_UNREACHABLE',
    'DB_BUSY',
    'DB_ACCESS',
    'OVERLOADED',
  );
}
