/** A server of a group whose answers a test decides: no socket, no time of its own. */
import { TidemarkError } from '../../../src/base/index.ts';
import {
  mysqlDialect,
  type ConnectOptions,
  type ResultSet,
  type Statement,
  type SqlConnection,
  type SqlEngine,
  type SqlParam,
  type StreamOptions,
  type TakePiece,
} from '../../../src/sql/index.ts';

const refusedConnection = (label: string): TidemarkError =>
  new TidemarkError('DB_UNREACHABLE', `${label}: connection refused`);

export class ScriptedServer implements SqlEngine {
  readonly kind = 'mysql';
  readonly dialect = mysqlDialect;
  readonly endpoints = [this];
  readonly label: string;
  readonly engine = this;
  /** What it is like now. */
  up = true;
  hangs = false;
  writable: boolean;
  lagSeconds: bigint | null = 0n;
  version = '10.11.1-MariaDB';
  order: readonly [bigint, bigint] = [4n, 0n];
  /** Connections made for work. */
  readonly connections: ScriptedConnection[] = [];
  readonly killed: string[] = [];
  questions = 0;

  constructor(label: string, writable: boolean) {
    this.label = label;
    this.writable = writable;
  }

  async connect({ purpose, signal }: ConnectOptions): Promise<SqlConnection> {
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => {
        reject(new TidemarkError('CANCELLED', this.label));
      });
    });
    await Promise.race([this.answered(), aborted]);
    const connection = new ScriptedConnection(this, String(this.connections.length + 1));
    if (purpose !== 'role') this.connections.push(connection);
    return connection;
  }

  async use<T>(purpose: string, work: (connection: SqlConnection) => Promise<T>): Promise<T> {
    return work(await this.connect({ purpose }));
  }

  read<T>(purpose: string, work: (connection: SqlConnection) => Promise<T>): Promise<T> {
    return this.use(purpose, work);
  }

  kill(id: string): Promise<void> {
    this.killed.push(id);
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Resolves at once, rejects, or does neither, as the server is now. */
  async answered(): Promise<void> {
    if (this.hangs) await new Promise(() => undefined);
    if (!this.up) throw refusedConnection(this.label);
  }
}

export class ScriptedConnection implements SqlConnection {
  readonly id: string;
  readonly server: ScriptedServer;
  dropped = false;
  readonly #drops: ((error: Error) => void)[] = [];

  constructor(server: ScriptedServer, id: string) {
    this.server = server;
    this.id = id;
  }

  async query(sql: string): Promise<ResultSet> {
    const dropped = new Promise<never>((_, reject) => this.#drops.push(reject));
    dropped.catch(() => undefined);
    if (this.dropped) throw refusedConnection(this.server.label);
    await Promise.race([this.server.answered(), dropped]);
    return this.#answer(sql);
  }

  async stream(
    sql: string,
    _params: readonly SqlParam[],
    _options: StreamOptions,
    take: TakePiece,
  ): Promise<void> {
    await take(await this.query(sql));
  }

  insertRows(): Promise<void> {
    return this.#write();
  }

  async batch(statements: readonly Statement[]): Promise<ResultSet[]> {
    const results: ResultSet[] = [];
    for (const { sql } of statements) results.push(await this.query(sql));
    return results;
  }

  async later(sql: string): Promise<void> {
    await this.query(sql);
  }

  begin(): Promise<void> {
    return Promise.resolve();
  }

  commit(): Promise<void> {
    return this.#write();
  }

  rollback(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  destroy(): void {
    this.dropped = true;
    for (const drop of this.#drops) drop(refusedConnection(this.server.label));
  }

  async #write(): Promise<void> {
    await this.query('SELECT 1');
    if (!this.server.writable) throw new TidemarkError('DB_READ_ONLY', `${this.server.label} is read only`);
  }

  #answer(sql: string): ResultSet {
    const result = (names: readonly string[], row: ResultSet['rows'][number]): ResultSet => ({
      columns: names.map((name) => ({ name, type: 'integer' as const })),
      rows: [row],
      changes: 0,
    });
    const { writable, version, lagSeconds, order } = this.server;
    if (sql.includes('read_only')) {
      this.server.questions += 1;
      return result(['read_only', 'version'], [writable ? 0n : 1n, version]);
    }
    if (sql === 'SHOW REPLICA STATUS') return result(['Seconds_Behind_Master'], [lagSeconds]);
    if (sql.includes('preserve_commit_order')) return result(['workers', 'order'], order);
    return result(['server'], [this.server.label]);
  }
}
