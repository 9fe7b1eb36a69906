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
      { title: 'STATES TO', value: (source) => (source.keepsStates ? source.statesWindow : '-') },
      { title: 'COLLECTOR', value: (source) => source.collectorExecutorId },
      { title: 'EPOCH', value: (source) => source.collectorEpoch },
      { title: 'POSITION', value: (source) => source.position || '-' },
      { title: 'PROBLEM', value: (source) => source.problem || '-' },
    ]);
  });
