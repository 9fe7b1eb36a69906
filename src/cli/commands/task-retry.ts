import type { Run } from '../command.ts';
import type { taskRetryOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof taskRetryOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    const woken = await client.retryTasks(values.tasks);
    output.result({ woken }, () => `${woken} ${woken === 1 ? 'task' : 'tasks'} woken`);
  });
