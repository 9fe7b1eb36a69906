import type { Run } from '../command.ts';
import type { clusterInitOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { formatTable } from '../table.ts';
import { withClient } from './remote.ts';

/** Makes one cluster of the coordinators at all endpoints. */
export const run: Run<Values<typeof clusterInitOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    const { clusterId, members } = await client.init(values.endpoints);
    output.result({ clusterId, members }, () =>
      [
        `cluster ${clusterId}`,
        formatTable(members, [
          { title: 'MEMBER', value: (member) => member.memberId },
          { title: 'CLIENTS', value: (member) => member.clientAddress },
          { title: 'PEERS', value: (member) => member.peerAddress },
        ]),
      ].join('\n'),
    );
  });
