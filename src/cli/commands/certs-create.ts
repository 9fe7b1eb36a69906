import { writeDevelopmentSet } from '../../certificates/index.ts';
import { EXIT, LIMITS, TidemarkError } from '../../base/index.ts';
import type { Run } from '../command.ts';
import type { certsCreateOptions } from '../commands.ts';
import type { Values } from '../option.ts';

/** Writes two authorities, two certificates for each coordinator, one for clients and one for executors. */
export const run: Run<Values<typeof certsCreateOptions>> = async ({ values, output }) => {
  const { out, hosts, days, firstMember } = values;
  if (hosts.length === 0 || hosts.length > LIMITS.membersMax) {
    throw new TidemarkError(
      'CONFIG_INVALID',
      `--hosts names ${hosts.length} hosts, not 1 to ${LIMITS.membersMax}`,
    );
  }
  const files = await writeDevelopmentSet({ folder: out, hosts, days, firstMember });
  output.result({ folder: out, files }, () =>
    [
      `${files.length} files in ${out}`,
      'coordinators: peer-N and coordinator-N, with peer-ca.pem and client-ca.pem',
      'executors: executor, commands: client; both with client-ca.pem',
      'For development only: keep the keys of the authorities away from servers.',
    ].join('\n'),
  );
  return EXIT.ok;
};
