import type { Run } from '../command.ts';
import type { taskListOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof taskListOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    const tasks = await client.listTasks({ state: values.state ?? '', limit: values.limit });
    output.rows('tasks', tasks, [
      { title: 'TASK', value: (task) => task.task },
      { title: 'REPORT', value: (task) => task.report },
      { title: 'WINDOWS', value: (task) => `${task.firstWindow}-${task.lastWindow}` },
      { title: 'STATE', value: (task) => task.state },
      { title: 'VERSION', value: (task) => task.version },
      { title: 'TOKEN', value: (task) => task.token },
      { title: 'EXECUTOR', value: (task) => task.executorId },
      { title: 'ATTEMPTS', value: (task) => task.attempts },
      { title: 'REASON', value: (task) => task.reason || '-' },
    ]);
  });
