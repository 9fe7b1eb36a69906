import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof remoteOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    output.rows('executors', await client.listExecutors(), [
      { title: 'ID', value: (executor) => executor.executorId },
      { title: 'NAME', value: (executor) => executor.name },
      { title: 'STATE', value: (executor) => executor.state },
      { title: 'SLOTS', value: (executor) => executor.slots },
      { title: 'RUNNING', value: (executor) => executor.running },
      { title: 'HEARTBEAT', value: (executor) => `${executor.heartbeatAgeMs} ms ago` },
      { title: 'COLLECTS', value: (executor) => executor.collects.map(String).join(',') || '-' },
      { title: 'VERSION', value: (executor) => executor.version },
    ]);
  });
