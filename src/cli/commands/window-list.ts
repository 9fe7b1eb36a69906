import type { Run } from '../command.ts';
import type { windowListOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof windowListOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    const windows = await client.listWindows({ source: values.source ?? '', limit: values.limit });
    output.rows('windows', windows, [
      { title: 'SOURCE', value: (window) => window.source },
      { title: 'WINDOW', value: (window) => window.window },
      { title: 'STATE', value: (window) => window.state },
      { title: 'ROWS', value: (window) => window.rows },
      { title: 'TASKS', value: (window) => `${window.tasksDone}/${window.tasks}` },
      { title: 'HOLES', value: (window) => window.holes },
      {
        title: 'MERGED IN',
        value: (window) => (window.state === 'SEALED' ? '-' : `${window.mergedMs - window.sealedMs} ms`),
      },
      { title: 'EPOCH', value: (window) => window.epoch },
    ]);
  });
