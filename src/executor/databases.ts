/** The databases that this executor has open: one engine, with its pool, per address, and their groups. */
import type { Clock } from '../base/index.ts';
import { resolveDatabase, type DatabaseRef } from '../job/index.ts';
import {
  GroupEngine,
  openEngine,
  parseMysqlUrl,
  type DatabaseAddress,
  type GroupLog,
  type NamedEngine,
  type ServerState,
  type SqlEngine,
} from '../sql/index.ts';

export interface DatabasesOptions {
  /** Where secret references are looked up. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Embedded paths are relative to it. */
  readonly baseFolder: string;
}

/** A primary, as the job file says, and its replicas. Which is which now is found by asking. */
export interface DatabaseGroup {
  readonly database: DatabaseRef;
  readonly replicas: readonly DatabaseRef[];
}

/** What groups need to ask their servers again and to tell what they found. */
export interface GroupWatch {
  readonly clock: Clock;
  readonly log: GroupLog;
}

export class Databases {
  readonly #options: DatabasesOptions;
  readonly #watch: GroupWatch;
  readonly #engines = new Map<string, SqlEngine>();
  readonly #groups = new Map<string, GroupEngine>();

  constructor(options: DatabasesOptions, watch: GroupWatch) {
    this.#options = options;
    this.#watch = watch;
  }

  /**
   * Returns the engine of a database; connections are made when they are used.
   * @throws TidemarkError `SECRET_MISSING`, `ENGINE_MISSING`.
   */
  engine(database: DatabaseRef): SqlEngine {
    const address = this.address(database);
    const key = addressKey(address);
    const known = this.#engines.get(key);
    if (known !== undefined) return known;
    const engine = openEngine(address);
    this.#engines.set(key, engine);
    return engine;
  }

  /**
   * Returns the engine of a store shard or a report database: that of its one server, or of all of them.
   * @throws TidemarkError `SECRET_MISSING`, `ENGINE_MISSING`.
   */
  group({ database, replicas }: DatabaseGroup): SqlEngine {
    const only = this.engine(database);
    if (replicas.length === 0) return only;
    const refs = [database, ...replicas];
    const key = refs.map((ref) => addressKey(this.address(ref))).join('\n');
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const group = new GroupEngine(
      only.dialect,
      refs.map((ref) => this.#named(ref)),
      this.#watch,
    );
    this.#groups.set(key, group);
    return group;
  }

  /** Every server of the groups in use, as it is seen from here. */
  servers(): ServerState[] {
    return [...this.#groups.values()].flatMap((group) => group.states());
  }

  /** Resolves a reference. @throws TidemarkError `SECRET_MISSING`. */
  address(database: DatabaseRef): DatabaseAddress {
    return resolveDatabase(database, this.#options);
  }

  async close(): Promise<void> {
    const groups = [...this.#groups.values()];
    const engines = [...this.#engines.values()];
    this.#groups.clear();
    this.#engines.clear();
    await Promise.all(groups.map((group) => group.close()));
    await Promise.all(engines.map((engine) => engine.close()));
  }

  #named(ref: DatabaseRef): NamedEngine {
    const address = this.address(ref);
    const label = address.kind === 'mysql' ? parseMysqlUrl(address.url).label : address.file;
    return { label, engine: this.engine(ref) };
  }
}

function addressKey(address: DatabaseAddress): string {
  return address.kind === 'mysql' ? `mysql ${address.url}` : `embedded ${address.file}`;
}
