/** The three databases of the sample: source, store and reports, on files or on one MySQL server. */
import { join } from 'node:path';
import { openEngine, type DatabaseAddress, type EngineKind, type SqlEngine } from '../sql/index.ts';
import type { DataFolder } from './data-folder.ts';

const ROLES = ['source', 'store', 'reports'] as const;
export type DatabaseRole = (typeof ROLES)[number];

/** How the job file names a database: never with a secret in it. */
export type DatabaseText =
  | { readonly embedded: { readonly file: string } }
  | { readonly mysql: { readonly url: { readonly env: string } } };

export interface DevDatabases {
  readonly kind: EngineKind;
  readonly engines: Readonly<Record<DatabaseRole, SqlEngine>>;
  readonly addresses: Readonly<Record<DatabaseRole, DatabaseAddress>>;
  readonly refs: Readonly<Record<DatabaseRole, DatabaseText>>;
  /** The secrets that the job file refers to, for the executors. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where the reports can be read, for people. */
  readonly shown: string;
  /** Removes the databases from a server of the user's; files go with their folder. */
  drop(): Promise<void>;
  close(): Promise<void>;
}

/** Files in the data folder; executors run in that folder, so that the job can name them without a path. */
export function openEmbeddedDatabases(folder: DataFolder): DevDatabases {
  const file = (role: DatabaseRole): string => `${role}.db`;
  const addresses = perRole((role): DatabaseAddress => ({
    kind: 'embedded',
    file: join(folder.path, file(role)),
  }));
  const engines = perRole((role) => openEngine(addresses[role]));
  return {
    kind: 'embedded',
    engines,
    addresses,
    refs: perRole((role) => ({ embedded: { file: file(role) } })),
    environment: {},
    shown: join(folder.path, file('reports')),
    drop: () => Promise.resolve(),
    close: () => closeAll(engines),
  };
}

/**
 * Databases `tidemark_<id>_source`, `_store` and `_reports` on one server; made if they are missing.
 * @throws TidemarkError `DB_UNREACHABLE`, `DB_ACCESS`, `CONFIG_INVALID` for a URL that is not understood.
 */
export async function openMysqlDatabases(serverUrl: string, id: string): Promise<DevDatabases> {
  const name = (role: DatabaseRole): string => `tidemark_${id}_${role}`;
  const variable = (role: DatabaseRole): string => `TIDEMARK_DEV_${role.toUpperCase()}_URL`;
  const run = async (statement: (role: DatabaseRole) => string): Promise<void> => {
    const server = openEngine({ kind: 'mysql', url: serverUrl });
    try {
      await server.use('dev', async (connection) => {
        for (const role of ROLES) await connection.query(statement(role));
      });
    } finally {
      await server.close();
    }
  };
  await run((role) => `CREATE DATABASE IF NOT EXISTS ${name(role)} CHARACTER SET utf8mb4`);
  const urls = perRole((role) => withDatabase(serverUrl, name(role)));
  const addresses = perRole((role): DatabaseAddress => ({ kind: 'mysql', url: urls[role] }));
  const engines = perRole((role) => openEngine(addresses[role]));
  return {
    kind: 'mysql',
    engines,
    addresses,
    refs: perRole((role) => ({ mysql: { url: { env: variable(role) } } })),
    environment: Object.fromEntries(ROLES.map((role) => [variable(role), urls[role]])),
    shown: `database ${name('reports')} on ${new URL(serverUrl).host}`,
    drop: () => run((role) => `DROP DATABASE IF EXISTS ${name(role)}`),
    close: () => closeAll(engines),
  };
}

function perRole<T>(make: (role: DatabaseRole) => T): Record<DatabaseRole, T> {
  return { source: make('source'), store: make('store'), reports: make('reports') };
}

function withDatabase(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  return url.href;
}

async function closeAll(engines: Readonly<Record<DatabaseRole, SqlEngine>>): Promise<void> {
  await Promise.all(Object.values(engines).map((engine) => engine.close()));
}
