import { assertNever } from '../base/index.ts';
import { embeddedDialect } from './embedded-dialect.ts';
import { openEmbedded, type EngineOptions } from './embedded-engine.ts';
import type { DatabaseAddress, Dialect, EngineKind, SqlEngine } from './engine.ts';
import { mysqlDialect } from './mysql-dialect.ts';
import { openMysql } from './mysql-engine.ts';

/** Opens the engine that an address names; the first connection is made by the first use. */
export function openEngine(address: DatabaseAddress, options: EngineOptions = {}): SqlEngine {
  switch (address.kind) {
    case 'mysql':
      return openMysql(address, options);
    case 'embedded':
      return openEmbedded(address, options);
    default:
      return assertNever(address, 'database address');
  }
}

/** The dialect of an engine kind, for text that is made without a connection. */
export function dialectOf(kind: EngineKind): Dialect {
  return kind === 'mysql' ? mysqlDialect : embeddedDialect;
}
