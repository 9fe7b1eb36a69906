import { EXIT, ERRORS } from '../../base/index.ts';
import type { MemberStatus } from '../../client/index.ts';
import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { formatTable, type Column } from '../table.ts';
import { connectWith } from './remote.ts';

/** Shows every member as it sees itself. Exit code 0 only if all of them answer and one leads. */
export const run: Run<Values<typeof remoteOptions>> = async ({ values, output }) => {
  const client = connectWith(values);
  let members: MemberStatus[];
  try {
    members = await client.members();
  } finally {
    client.close();
  }
  const shown = members.map(({ status, error, lag, ...rest }) => ({
    ...rest,
    role: status?.role ?? null,
    term: status?.term ?? null,
    lastIndex: status?.lastIndex ?? null,
    lag: lag ?? null,
    leaderContactMs: status?.leaderContactMs ?? null,
    version: status?.version ?? null,
    error: error === undefined ? null : { code: error.code, message: error.message },
  }));
  output.result({ members: shown }, () => formatTable(members, COLUMNS));
  const complete = members.every(({ status }) => status !== undefined);
  const leads = members.some(({ status }) => status?.role === 'leader');
  return complete && leads ? EXIT.ok : ERRORS.NO_LEADER.exit;
};

const from =
  (show: (status: NonNullable<MemberStatus['status']>) => string | bigint) =>
  ({ status }: MemberStatus): string =>
    status === undefined ? '-' : String(show(status));

const COLUMNS: readonly Column<MemberStatus>[] = [
  { title: 'MEMBER', value: ({ memberId }) => memberId },
  { title: 'ROLE', value: ({ status, error }) => status?.role ?? error?.code ?? '-' },
  { title: 'TERM', value: from((status) => status.term) },
  { title: 'MATCH', value: from((status) => status.lastIndex) },
  { title: 'LAG', value: ({ lag }) => lag ?? '-' },
  { title: 'LEADER SEEN', value: from((status) => `${status.leaderContactMs} ms ago`) },
  { title: 'VERSION', value: from((status) => status.version) },
  { title: 'CLIENTS', value: ({ clientAddress }) => clientAddress },
  { title: 'PEERS', value: ({ peerAddress }) => peerAddress },
];
