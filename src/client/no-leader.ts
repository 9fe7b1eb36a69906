/**
 * Says why nobody answered: what was found at each endpoint, so that a reader sees which machine to look at.
 */
import { TidemarkError, toTidemarkError } from '../base/index.ts';
import { ClientService, type StatusReply } from '../wire/index.ts';
import type { Endpoints } from './endpoints.ts';

/** What one endpoint answered about itself. */
export type EndpointStatus =
  | { readonly endpoint: string; readonly status: StatusReply }
  | { readonly endpoint: string; readonly error: TidemarkError };

const STATUS_WITHIN_MS = 1_000;

/** Asks endpoints at once for their own status; never fails. */
export function askEndpoints(endpoints: Endpoints, addresses: readonly string[]): Promise<EndpointStatus[]> {
  return Promise.all(
    addresses.map(async (endpoint): Promise<EndpointStatus> => {
      try {
        return {
          endpoint,
          status: await endpoints.call(endpoint, ClientService.status, {}, STATUS_WITHIN_MS),
        };
      } catch (error) {
        return { endpoint, error: toTidemarkError(error) };
      }
    }),
  );
}

/** Makes the error for a request that no leader answered. */
export async function noLeader(
  endpoints: Endpoints,
  withinMs: number,
  cause: TidemarkError,
): Promise<TidemarkError> {
  const found = await askEndpoints(endpoints, endpoints.known);
  const width = Math.max(...found.map(({ endpoint }) => endpoint.length));
  const lines = found.map((one) => `  ${one.endpoint.padEnd(width)}  ${describe(one)}`);
  const uninitialised = found.every((one) => 'status' in one && one.status.clusterId === '');
  if (uninitialised) {
    return new TidemarkError('NOT_INITIALIZED', ['the cluster was never initialised', ...lines].join('\n'), {
      next: `tidemark cluster init --endpoints ${endpoints.given.join(',')}`,
      cause,
    });
  }
  const seconds = withinMs / 1_000;
  return new TidemarkError('NO_LEADER', [`no leader answered within ${seconds} s`, ...lines].join('\n'), {
    next: advice(found, endpoints.secure),
    details: Object.fromEntries(found.map((one) => [one.endpoint, describe(one)])),
    cause,
  });
}

function describe(one: EndpointStatus): string {
  if ('error' in one) {
    const { cause } = one.error;
    const text = cause instanceof Error ? cause.message : one.error.message;
    return /ECONNREFUSED/.test(text) ? 'refused connection' : `does not answer: ${firstLine(text)}`;
  }
  const { status } = one;
  if (status.clusterId === '') return 'reachable, waiting for cluster init';
  const contact =
    status.leaderId === 0n ? 'knows no leader' : `last leader contact ${ago(status.leaderContactMs)}`;
  return `reachable, ${status.role}, term ${status.term}, ${contact}`;
}

/** Says what to do when no endpoint, or not enough of them, answered. */
export function advice(found: readonly EndpointStatus[], secure: boolean): string {
  const refused = found.flatMap((one) =>
    'error' in one && one.error.code === 'TLS_REFUSED' ? [one.error] : [],
  );
  if (refused[0]?.next !== undefined) return refused[0].next;
  const answering = found.flatMap((one) => ('status' in one ? [one.status] : []));
  const voters = votersKnownTo(answering);
  if (voters.length === 0) {
    const dropped = found.some((one) => describe(one) !== 'refused connection');
    if (!dropped) return 'Start the coordinators, or correct the endpoints.';
    return secure
      ? 'Start the coordinators. If they run, they may not accept this certificate: compare its authority.'
      : 'If the coordinators use certificates, give --client-ca, --client-cert and --client-key.';
  }
  const needed = Math.floor(voters.length / 2) + 1;
  const here = answering.filter(({ memberId }) => voters.includes(memberId)).length;
  if (here >= needed) return 'Try again: an election may be going on.';
  return `Start the others: ${needed} of ${voters.length} voters are needed, ${here} answers here.`;
}

/** Ids of the voters of the newest configuration that somebody knows; learners elect nobody. */
function votersKnownTo(answering: readonly StatusReply[]): bigint[] {
  let newest: StatusReply | undefined;
  for (const status of answering) {
    if (newest === undefined || status.configurationIndex > newest.configurationIndex) newest = status;
  }
  return (newest?.members ?? []).flatMap(({ memberId, role }) => (role === 'voter' ? [memberId] : []));
}

function ago(ms: bigint): string {
  return ms < 1_000n ? `${ms} ms ago` : `${ms / 1_000n} s ago`;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
