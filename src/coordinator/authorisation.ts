/**
 * The one point that every call passes (design section 8). A call is allowed by its row in this table and by
 * the authority of the port that it came through; a method without a row is refused, so that a new one
 * cannot be forgotten.
 */
import { ServerInterceptingCall, status as Status, type ServerInterceptor } from '@grpc/grpc-js';
import { TidemarkError } from '../base/index.ts';
import { toServiceError } from '../wire/index.ts';

/** Which of the two listening ports, and with it which certificates: coordinators, or everyone else. */
export type Authority = 'peer' | 'client';
/** What a caller needs; with plain connections everyone of the authority has all of it. */
export type Permission = 'consensus' | 'admit' | 'administer' | 'read' | 'change' | 'execute';

export interface AccessRow {
  readonly authority: Authority;
  readonly permission: Permission;
}

function row(authority: Authority, permission: Permission): AccessRow {
  return { authority, permission };
}

export const ACCESS: Readonly<Record<string, AccessRow>> = {
  '/tidemark.v1.Peer/Frames': row('peer', 'consensus'),
  '/tidemark.v1.Peer/Admit': row('peer', 'admit'),
  '/tidemark.v1.Peer/Join': row('peer', 'admit'),
  '/tidemark.v1.Peer/Digests': row('peer', 'consensus'),
  '/tidemark.v1.Executor/Connect': row('client', 'execute'),
  '/tidemark.v1.Client/Init': row('client', 'administer'),
  '/tidemark.v1.Client/Status': row('client', 'read'),
  '/tidemark.v1.Client/Digest': row('client', 'read'),
  '/tidemark.v1.Client/TransferLeader': row('client', 'administer'),
  '/tidemark.v1.Client/AddMember': row('client', 'administer'),
  '/tidemark.v1.Client/PromoteMember': row('client', 'administer'),
  '/tidemark.v1.Client/RemoveMember': row('client', 'administer'),
  '/tidemark.v1.Client/SaveSnapshot': row('client', 'administer'),
  '/tidemark.v1.Client/OpenSession': row('client', 'change'),
  '/tidemark.v1.Client/Apply': row('client', 'change'),
  '/tidemark.v1.Client/ListSources': row('client', 'read'),
  '/tidemark.v1.Client/ListReports': row('client', 'read'),
  '/tidemark.v1.Client/ListWindows': row('client', 'read'),
  '/tidemark.v1.Client/ListTasks': row('client', 'read'),
  '/tidemark.v1.Client/ListExecutors': row('client', 'read'),
  '/tidemark.v1.Client/RetryTasks': row('client', 'change'),
  '/tidemark.v1.KeyValue/Stream': row('client', 'change'),
};

/**
 * Decides about one call.
 * @throws TidemarkError `UNAUTHORIZED`.
 */
export function authorise(path: string, authority: Authority): void {
  const access = Object.hasOwn(ACCESS, path) ? ACCESS[path] : undefined;
  if (access?.authority === authority) return;
  throw new TidemarkError('UNAUTHORIZED', `${path} is not served to ${authority} connections`);
}

/** Makes the interceptor that puts {@link authorise} before every method of a server. */
export function authorisation(authority: Authority): ServerInterceptor {
  return (method, call) => {
    try {
      authorise(method.path, authority);
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
