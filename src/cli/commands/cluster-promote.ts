import type { Run } from '../command.ts';
import type { clusterPromoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { withClient } from './remote.ts';
import { showMembership, waitOf } from './membership-result.ts';

/** Makes a learner a voter. */
export const run: Run<Values<typeof clusterPromoteOptions>> = ({ values, output }) =>
  withClient(values, async ({ membership }) => {
    const { member } = values;
    const reply = await membership.promote(member, { ...waitOf(values, output) });
    showMembership(output, reply, 'is a voter');
  });
