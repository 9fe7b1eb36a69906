import { assertNever } from '../base/index.ts';
import { openEmbedded } from './embedded-engine.ts';
import type { EngineOptions } from './engine-options.ts';
import type { DatabaseAddress, SqlEngine } from './engine.ts';
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
