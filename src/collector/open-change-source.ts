/** Chooses the implementation of {@link ChangeSource} that a source's engine needs. */
import { TidemarkError, type Clock } from '../base/index.ts';
import type { CompiledSource } from '../job/index.ts';
import type { DatabaseAddress, SqlEngine } from '../sql/index.ts';
import { BinlogSource } from './binlog/binlog-source.ts';
import type { ChangeSource } from './change-source.ts';
import { EmbeddedSource } from './embedded/embedded-source.ts';

export interface OpenChangeSourceOptions {
  readonly source: CompiledSource;
  readonly engines: { readonly source: SqlEngine; readonly sourceAddress: DatabaseAddress };
  readonly clock: Clock;
}

/** @throws TidemarkError `CONFIG_INVALID` when the address is not one of the source's engine. */
export function openChangeSource({ source, engines, clock }: OpenChangeSourceOptions): ChangeSource {
  const address = engines.sourceAddress;
  if (address.kind !== source.engine) {
    throw new TidemarkError('CONFIG_INVALID', `source ${source.name} is not a ${address.kind} database`);
  }
  if (address.kind === 'embedded') return new EmbeddedSource(engines.source, source.tables, clock);
  return new BinlogSource({ engine: engines.source, url: address.url, tables: source.tables, clock });
}
