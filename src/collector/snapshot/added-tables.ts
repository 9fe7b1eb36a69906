/**
 * Tables that were added to a source whose windows are sealed (design 6.5): they are copied inside the chain,
 * as the first snapshot was. What the log tells of them before that is their past: it may name them before
 * they were made, or under definitions that are gone. So what was captured before is collected alone up to a
 * place where the added tables are known to be as they are; from there on the log is read with them.
 */
import { mutated } from '../../base/index.ts';
import { cursorText, type CompiledSource } from '../../job/index.ts';
import type { ChangeSource } from '../change-source.ts';
import type { CollectorOptions } from '../collector-options.ts';
import type { SchemaChange } from '../schema/schema-change.ts';

export interface AddedTables {
  /** The collector of the tables before them. */
  readonly former: CollectorOptions;
  /** Up to where it collects. */
  readonly position: string;
  /** What the added tables are there, as far as they are not as they were declared. */
  readonly changes: readonly SchemaChange[];
}

/**
 * Finds that place. Undefined if no table was added, or the first of them is being copied already.
 * @throws TidemarkError `SCHEMA_CHANGED` for a table that cannot be captured any more, and `DB_*`.
 */
export async function meetAdded(
  options: CollectorOptions,
  open: (source: CompiledSource) => ChangeSource,
): Promise<AddedTables | undefined> {
  const { source, formerTables, cursor, seal, signal } = options;
  const first = source.tables[formerTables];
  if (formerTables === 0 || cursor !== cursorText({ table: first?.table ?? '', key: [] })) return undefined;
  if (mutated('collector.addedTablesFromTheirPast')) return undefined;
  const former: CollectorOptions = {
    ...options,
    source: { ...source, tables: source.tables.slice(0, formerTables) },
    cursor: '',
    formerTables: 0,
    seal: (window) => seal(window, cursor),
    addSchema: (change, changed) => {
      const tables = [...changed.tables, ...source.tables.slice(formerTables)];
      return options.addSchema(change, { ...changed, tables });
    },
  };
  const added = { ...source, tables: source.tables.slice(formerTables) };
  const changes = open(added);
  try {
    for (;;) {
      signal.throwIfAborted();
      const before = await changes.compared();
      const { position } = await changes.head();
      const after = await changes.compared();
      if (JSON.stringify(before) !== JSON.stringify(after)) continue;
      return { former, position, changes: mutated('collector.addedTablesAsDeclared') ? [] : before };
    }
  } finally {
    await changes.close();
  }
}
