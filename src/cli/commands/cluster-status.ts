import { ERRORS } from '../../base/index.ts';
import type { EndpointStatus } from '../../client/index.ts';
import type { Run } from '../command.ts';
import type { remoteOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { formatTable, type Column } from '../table.ts';
import { connectWith } from './remote.ts';

/** Shows what each endpoint says of itself. Exit code 0 only if one of them leads. */
export const run: Run<Values<typeof remoteOptions>> = async ({ values, output }) => {
  const client = connectWith(values);
  const found = await client.status();
  client.close();
  const coordinators = found.map((one) =>
    'status' in one
      ? { endpoint: one.endpoint, ...one.status }
      : { endpoint: one.endpoint, error: { code: one.error.code, message: one.error.message } },
  );
  output.result({ coordinators }, () => formatTable(found, COLUMNS));
  const leads = found.some((one) => 'status' in one && one.status.role === 'leader');
  return leads ? 0 : ERRORS.NO_LEADER.exit;
};

const from =
  (show: (status: Extract<EndpointStatus, { status: unknown }>['status']) => string | bigint | number) =>
  (one: EndpointStatus): string =>
    'status' in one ? String(show(one.status)) : '-';

const COLUMNS: readonly Column<EndpointStatus>[] = [
  { title: 'ENDPOINT', value: (one) => one.endpoint },
  { title: 'MEMBER', value: from((status) => status.memberId) },
  { title: 'ROLE', value: (one) => ('status' in one ? one.status.role : one.error.code) },
  { title: 'TERM', value: from((status) => status.term) },
  { title: 'LEADER', value: from((status) => status.leaderClientAddress || '-') },
  { title: 'COMMIT', value: from((status) => status.commitIndex) },
  { title: 'APPLIED', value: from((status) => status.appliedIndex) },
  { title: 'LAST', value: from((status) => status.lastIndex) },
  { title: 'LEADER SEEN', value: from((status) => `${status.leaderContactMs} ms ago`) },
  { title: 'EXECUTORS', value: from((status) => status.executors) },
  { title: 'DIGEST', value: from((status) => status.digest) },
  { title: 'VERSION', value: from((status) => status.version) },
];
