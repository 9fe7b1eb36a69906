import type { Run } from '../command.ts';
import type { clusterAddOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';
import { showMembership, waitOf } from './membership-result.ts';

/** Adds a coordinator: a learner first, and once it has caught up a voter. */
export const run: Run<Values<typeof clusterAddOptions>> = ({ values, output }) =>
  withClient(values, async ({ membership }) => {
    const { peerAddress, clientAddress, learner } = values;
    const reply = await membership.add(
      { peerAddress, clientAddress },
      { learner, ...waitOf(values, output) },
    );
    showMembership(output, reply, learner ? 'is a learner' : 'is a voter');
  });
