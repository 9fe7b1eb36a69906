import type { Run } from '../command.ts';
import type { transferLeaderOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';

/** Hands the lead over, and says who leads then. */
export const run: Run<Values<typeof transferLeaderOptions>> = ({ values, output }) =>
  withClient(values, async (client) => {
    const leaderId = await client.transferLeader(values.to === 0 ? undefined : values.to);
    output.result({ leaderId }, () =>
      leaderId === 0n ? 'the lead was handed over' : `member ${leaderId} leads`,
    );
  });
