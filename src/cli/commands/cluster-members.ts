import { EXIT, ERRORS, LIMITS } from '../../base/index.ts';
import type { MemberStatus, Members } from '../../client/index.ts';
import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { formatTable, type Column } from '../table.ts';
import { connectWith } from './remote.ts';

/**
 * Shows every member: what the leader knows of it and what it says of itself. Exit code 0 only if all of them
 * answer and one leads.
 */
export const run: Run<Values<typeof remoteOptions>> = async ({ values, output }) => {
  const client = connectWith(values);
  let found: Members;
  try {
    found = await client.members();
  } finally {
    client.close();
  }
  const { members, nextMemberId } = found;
  output.result({ members: members.map(shown), nextMemberId }, () =>
    [
      formatTable(members, COLUMNS),
      ...members.flatMap(alarm),
      `the next member added gets id ${nextMemberId}`,
    ].join('\n'),
  );
  const complete = members.every(({ status }) => status !== undefined);
  const leads = members.some(({ role }) => role === 'leader');
  return complete && leads ? EXIT.ok : ERRORS.NO_LEADER.exit;
};

function shown(member: MemberStatus): Record<string, unknown> {
  const { status, error, known, ...rest } = member;
  return {
    ...rest,
    term: status?.term ?? null,
    lastIndex: status?.lastIndex ?? null,
    match: known?.matchIndex ?? null,
    lag: known?.lag ?? null,
    replication: known?.replication ?? null,
    snapshots: known?.snapshots ?? null,
    lastContactMs: lastContactMs(member) ?? null,
    diskP50Us: status?.diskP50Us ?? null,
    diskP99Us: status?.diskP99Us ?? null,
    version: status?.version ?? null,
    error: error === undefined ? null : { code: error.code, message: error.message },
  };
}

/** One snapshot is the price of a long absence; many without an end are not. */
function alarm({ memberId, known }: MemberStatus): string[] {
  if (known === undefined || known.snapshots < LIMITS.raftSnapshotsInARowAlarm) return [];
  const times = `${known.snapshots} snapshots in a row`;
  return [`member ${memberId} was sent ${times} and never caught up: look at its log, disk and link`];
}

/** Between the leader and it: as the leader says, else as it says itself. */
function lastContactMs({ known, status }: MemberStatus): bigint | undefined {
  return known?.silentMs ?? status?.leaderContactMs;
}

const from =
  (show: (status: NonNullable<MemberStatus['status']>) => string | bigint) =>
  ({ status }: MemberStatus): string =>
    status === undefined ? '-' : String(show(status));

const milliseconds = (us: bigint): string => (Number(us) / 1_000).toFixed(1);

const COLUMNS: readonly Column<MemberStatus>[] = [
  { title: 'MEMBER', value: ({ memberId }) => memberId },
  { title: 'ROLE', value: ({ role }) => role },
  { title: 'STATE', value: ({ status, error }) => status?.role ?? error?.code ?? '-' },
  { title: 'TERM', value: from((status) => status.term) },
  { title: 'MATCH', value: ({ known }) => known?.matchIndex ?? '-' },
  { title: 'LAG', value: ({ known }) => known?.lag ?? '-' },
  { title: 'LAST CONTACT', value: (member) => contact(lastContactMs(member)) },
  {
    title: 'DISK p50/p99 ms',
    value: from(({ diskP50Us, diskP99Us }) => `${milliseconds(diskP50Us)}/${milliseconds(diskP99Us)}`),
  },
  { title: 'VERSION', value: from((status) => status.version) },
  { title: 'CLIENTS', value: ({ clientAddress }) => clientAddress },
  { title: 'PEERS', value: ({ peerAddress }) => peerAddress },
];

function contact(ms: bigint | undefined): string {
  return ms === undefined ? '-' : `${ms} ms ago`;
}
