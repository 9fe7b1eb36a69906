import type { Run } from '../command.ts';
import type { clusterReplaceOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';
import { showMembership, waitOf } from './membership-result.ts';

/** Puts a new coordinator in the place of a member, which may be dead. */
export const run: Run<Values<typeof clusterReplaceOptions>> = ({ values, output }) =>
  withClient(values, async ({ membership }) => {
    const { member, peerAddress, clientAddress } = values;
    const reply = await membership.replace(
      member,
      { peerAddress, clientAddress },
      { ...waitOf(values, output) },
    );
    showMembership(output, reply, `is a voter in the place of member ${member}`);
  });
