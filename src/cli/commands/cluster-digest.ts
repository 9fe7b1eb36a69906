import { EXIT, ERRORS } from '../../base/index.ts';
import type { MemberDigest } from '../../client/index.ts';
import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { formatTable, type Column } from '../table.ts';
import { connectWith } from './remote.ts';

/** Shows what each member says of its state. Exit code 0 only if nobody knows of a difference. */
export const run: Run<Values<typeof remoteOptions>> = async ({ values, output }) => {
  const client = connectWith(values);
  let members: MemberDigest[];
  try {
    members = await client.digests();
  } finally {
    client.close();
  }
  const shown = members.map(({ memberId, clientAddress, digest, error }) => ({
    memberId,
    clientAddress,
    digest: digest ?? null,
    error: error === undefined ? null : { code: error.code, message: error.message },
  }));
  output.result({ members: shown }, () => formatTable(members, COLUMNS));
  const differ = members.some(({ digest }) => digest !== undefined && digest.verdict !== 'equal');
  return differ ? ERRORS.STATE_DIVERGED.exit : EXIT.ok;
};

const COLUMNS: readonly Column<MemberDigest>[] = [
  { title: 'MEMBER', value: ({ memberId }) => memberId },
  { title: 'APPLIED', value: ({ digest }) => digest?.appliedIndex ?? '-' },
  { title: 'DIGEST', value: ({ digest, error }) => digest?.digest ?? error?.code ?? '-' },
  { title: 'STATES', value: ({ digest }) => digest?.verdict ?? '-' },
  { title: 'DIFFER AT', value: ({ digest }) => (digest?.differsAt ?? 0n) || '-' },
  { title: 'WRONG', value: ({ digest }) => digest?.wrongMembers.join(',') || '-' },
];
