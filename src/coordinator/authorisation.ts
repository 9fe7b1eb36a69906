/**
 * The one point that every call passes (design section 8). A call is allowed by its row in this table, by the
 * authority of the port that it came through, and by what the caller's certificate is for; a method without a
 * row is refused, so that a new one cannot be forgotten.
 */
import { ServerInterceptingCall, status as Status, type ServerInterceptor } from '@grpc/grpc-js';
import { EXECUTOR_URI, TidemarkError, mutated } from '../base/index.ts';
import { shows, toServiceError } from '../wire/index.ts';

/** Which of the two listening ports, and with it which certificates: coordinators, or everyone else. */
export type Authority = 'peer' | 'client';
/** Whom a method is for. `client`: not for certificates of executors. `executor`: for clients as well. */
export type Access = 'peer' | 'client' | 'executor';

export const ACCESS: Readonly<Record<string, Access>> = {
  '/tidemark.v1.Peer/Frames': 'peer',
  '/tidemark.v1.Peer/Admit': 'peer',
  '/tidemark.v1.Peer/Join': 'peer',
  '/tidemark.v1.Peer/Digests': 'peer',
  '/tidemark.v1.Executor/Connect': 'executor',
  '/tidemark.v1.Client/Init': 'client',
  '/tidemark.v1.Client/Status': 'client',
  '/tidemark.v1.Client/Digest': 'client',
  '/tidemark.v1.Client/TransferLeader': 'client',
  '/tidemark.v1.Client/AddMember': 'client',
  '/tidemark.v1.Client/PromoteMember': 'client',
  '/tidemark.v1.Client/RemoveMember': 'client',
  '/tidemark.v1.Client/SaveSnapshot': 'client',
  '/tidemark.v1.Client/OpenSession': 'client',
  '/tidemark.v1.Client/Apply': 'client',
  '/tidemark.v1.Client/ListSources': 'client',
  '/tidemark.v1.Client/ListReports': 'client',
  '/tidemark.v1.Client/ListWindows': 'client',
  '/tidemark.v1.Client/ListTasks': 'client',
  '/tidemark.v1.Client/ListExecutors': 'client',
  '/tidemark.v1.Client/RetryTasks': 'client',
  '/tidemark.v1.Client/Resnapshot': 'client',
  '/tidemark.v1.Client/Audit': 'client',
  '/tidemark.v1.KeyValue/Stream': 'client',
};

/**
 * Decides about one call. Who shows no certificate, or one that names no role, may do all of its port.
 * @throws TidemarkError `UNAUTHORIZED`.
 */
export function authorise(path: string, authority: Authority, isExecutor: boolean): void {
  const access = Object.hasOwn(ACCESS, path) ? ACCESS[path] : undefined;
  if (access === undefined || (access === 'peer') !== (authority === 'peer')) {
    throw new TidemarkError('UNAUTHORIZED', `${path} is not served to ${authority} connections`);
  }
  if (!isExecutor || access === 'executor' || mutated('coordinator.executorMayAll')) return;
  throw new TidemarkError('UNAUTHORIZED', `${path} is not for the certificate of an executor`, {
    next: 'Give the command a certificate of its own, which does not name an executor.',
  });
}

/** Makes the interceptor that puts {@link authorise} before every method of a server. */
export function authorisation(authority: Authority): ServerInterceptor {
  return (method, call) => {
    try {
      authorise(method.path, authority, authority === 'client' && shows(call, EXECUTOR_URI));
    } catch (error) {
      return refuse(call, error);
    }
    return new ServerInterceptingCall(call);
  };
}

function refuse(
  call: ConstructorParameters<typeof ServerInterceptingCall>[0],
  error: unknown,
): ServerInterceptingCall {
  const status = toServiceError(error);
  return new ServerInterceptingCall(call, {
    start(next) {
      next({
        onReceiveMetadata() {
          call.sendStatus({
            code: status.code ?? Status.UNKNOWN,
            details: status.message,
            metadata: status.metadata ?? null,
          });
        },
      });
    },
  });
}
