import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof remoteOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    output.rows('sources', await client.listSources(), [
      { title: 'ID', value: (source) => source.sourceId },
      { title: 'NAME', value: (source) => source.name },
      { title: 'STATE', value: (source) => source.state },
      { title: 'SEALED TO', value: (source) => source.lastWindow },
      { title: 'MERGED TO', value: (source) => source.mergedWindow },
      { title: 'STATES TO', value: ({ states }) => least(states.map(({ window }) => window)) },
      { title: 'COLLECTOR', value: (source) => source.collectorExecutorId },
      { title: 'EPOCH', value: (source) => source.collectorEpoch },
      { title: 'ALTERED', value: ({ tables }) => altered(tables) },
      { title: 'POSITION', value: (source) => source.position || '-' },
      { title: 'PROBLEM', value: (source) => source.problem || '-' },
      { title: 'NEXT', value: (source) => source.next || '-' },
    ]);
  });

/** The schema version of each table that has another than it was declared with. */
function altered(tables: readonly { table: string; schemaVersion: number }[]): string {
  const later = tables.filter(({ schemaVersion }) => schemaVersion > 1);
  return later.map(({ table, schemaVersion }) => `${table} v${schemaVersion}`).join(', ') || '-';
}

/** What all store shards have; a dash where no row states are kept. */
function least(windows: readonly bigint[]): bigint | string {
  const [first, ...others] = windows;
  if (first === undefined) return '-';
  return others.reduce((lowest, window) => (window < lowest ? window : lowest), first);
}
