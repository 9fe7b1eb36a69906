/**
 * Credentials of every gRPC connection, as one object (design section 8). Coordinators among themselves and
 * clients with executors are two authorities: a certificate of the one opens nothing of the other. Plain
 * connections are the only kind in this version; mutual TLS is another maker of the same object.
 */
import { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';

/** One authority: what its server side presents and what its dialling side presents. */
export interface LinkCredentials {
  readonly server: ServerCredentials;
  readonly channel: ChannelCredentials;
}

export interface Credentials {
  readonly kind: 'insecure';
  /** Between coordinators. */
  readonly peer: LinkCredentials;
  /** Between coordinators and everyone else: clients, executors, people. */
  readonly client: LinkCredentials;
}

/** Makes credentials without encryption or identity: whoever reaches a port may use it. */
export function insecureCredentials(): Credentials {
  const link = (): LinkCredentials => ({
    server: ServerCredentials.createInsecure(),
    channel: ChannelCredentials.createInsecure(),
  });
  return { kind: 'insecure', peer: link(), client: link() };
}
