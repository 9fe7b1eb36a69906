import type { Run } from '../command.ts';
import type { clusterRemoveOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';
import { showMembership, waitOf } from './membership-result.ts';

/** Takes a member out for ever. */
export const run: Run<Values<typeof clusterRemoveOptions>> = ({ values, output }) =>
  withClient(values, async ({ membership }) => {
    const { member } = values;
    const reply = await membership.remove(member, { ...waitOf(values, output) });
    showMembership(output, reply, 'is no member');
  });
