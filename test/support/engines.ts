/** Databases of their own for tests that run on either engine. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { freshDatabase } from './mariadb.ts';

export type EngineKind = 'embedded' | 'mysql';

export interface FreshEngine {
  readonly engine: SqlEngine;
  /** Closes the engine and removes its database. */
  close(): Promise<void>;
}

/** Opens an empty database, of which `name` is a part of the name. */
export async function freshEngine(kind: EngineKind, name: string): Promise<FreshEngine> {
  const opened = (engine: SqlEngine, remove: () => Promise<void>): FreshEngine => ({
    engine,
    close: () => engine.close().then(remove),
  });
  if (kind === 'mysql') {
    const { url, drop } = await freshDatabase(name);
    return opened(openEngine({ kind, url }), drop);
  }
  const folder = await mkdtemp(join(tmpdir(), `tidemark-${name}-`));
  const engine = openEngine({ kind, file: join(folder, 'all.db') });
  return opened(engine, () => rm(folder, { recursive: true, force: true }));
}
