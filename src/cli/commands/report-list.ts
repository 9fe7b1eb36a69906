import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

export const run: Run<Values<typeof remoteOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    output.rows('reports', await client.listReports(), [
      { title: 'ID', value: (report) => report.reportId },
      { title: 'NAME', value: (report) => report.name },
      { title: 'GENERATION', value: (report) => report.generation },
      { title: 'CLASS', value: (report) => report.class },
      { title: 'STATE', value: (report) => report.state },
      { title: 'SOURCE', value: (report) => report.source },
      { title: 'VIEW', value: (report) => report.view },
      { title: 'MERGED TO', value: (report) => report.mergedWindow },
      { title: 'HOLES', value: (report) => report.holes },
      { title: 'PROBLEM', value: (report) => report.problem || '-' },
    ]);
  });
