/** The databases that this executor has open: one engine, with its pool, per address. */
import { resolveDatabase, type DatabaseRef } from '../job/index.ts';
import { openEngine, type DatabaseAddress, type SqlEngine } from '../sql/index.ts';

export interface DatabasesOptions {
  /** Where secret references are looked up. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Embedded paths are relative to it. */
  readonly baseFolder: string;
}

export class Databases {
  readonly #options: DatabasesOptions;
  readonly #engines = new Map<string, SqlEngine>();

  constructor(options: DatabasesOptions) {
    this.#options = options;
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

  /** Resolves a reference. @throws TidemarkError `SECRET_MISSING`. */
  address(database: DatabaseRef): DatabaseAddress {
    return resolveDatabase(database, this.#options);
  }

  async close(): Promise<void> {
    const engines = [...this.#engines.values()];
    this.#engines.clear();
    await Promise.all(engines.map((engine) => engine.close()));
  }
}

function addressKey(address: DatabaseAddress): string {
  return address.kind === 'mysql' ? `mysql ${address.url}` : `embedded ${address.file}`;
}
