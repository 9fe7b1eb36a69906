/**
 * Credentials of every gRPC connection, as one object (design section 8). Coordinators among themselves and
 * clients with executors are two authorities: a certificate of the one opens nothing of the other. With
 * certificates both sides of every connection show theirs, and a member's must name the member.
 */
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { ChannelCredentials, ServerCredentials, experimental } from '@grpc/grpc-js';
import { TidemarkError, memberUri } from '../base/index.ts';
import type { CertificatePaths } from './certificate-check.ts';
import { CertificateFiles } from './certificate-files.ts';

/** One authority: what its server side presents and what its dialling side presents. */
export interface LinkCredentials {
  readonly server: ServerCredentials;
  readonly channel: ChannelCredentials;
}

/** What a gRPC call tells about the connection that it came through. */
interface IncomingCall {
  getAuthContext(): { readonly sslPeerCertificate?: PeerCertificate };
}

export interface PeerCredentials extends LinkCredentials {
  /** For a connection to one member: who answers must be that member. */
  channelTo(member: number): ChannelCredentials;
  /**
   * Checks that a call came from the member that it says it is.
   * @throws TidemarkError `UNAUTHORIZED`.
   */
  checkCaller(call: IncomingCall, member: number): void;
}

/** What clients and executors need. */
export interface ClientCredentials {
  readonly kind: 'insecure' | 'tls';
  /** Between coordinators and everyone else: clients, executors, people. */
  readonly client: LinkCredentials;
}

export interface Credentials extends ClientCredentials {
  /** Between coordinators. */
  readonly peer: PeerCredentials;
}

/** Makes credentials without encryption or identity: whoever reaches a port may use it. */
export function insecureCredentials(): Credentials {
  const link = (): LinkCredentials => ({
    server: ServerCredentials.createInsecure(),
    channel: ChannelCredentials.createInsecure(),
  });
  const peer = link();
  return {
    kind: 'insecure',
    peer: { ...peer, channelTo: () => peer.channel, checkCaller: () => undefined },
    client: link(),
  };
}

export interface TlsOptions {
  /** Told of renewed files that cannot be used; the old ones stay in use. */
  readonly onProblem: (error: TidemarkError) => void;
  /** How often the files are looked at, in milliseconds. @default 1000 */
  readonly refreshMs?: number;
}

/**
 * Makes the credentials of a client or an executor.
 * @throws TidemarkError `FILE_UNREADABLE`, `CERTIFICATE_INVALID`.
 */
export function tlsClientCredentials(client: CertificatePaths, options: TlsOptions): ClientCredentials {
  return { kind: 'tls', client: linkOf(new CertificateFiles({ paths: client, ...options })) };
}

/**
 * Makes the credentials of a coordinator.
 * @throws TidemarkError `FILE_UNREADABLE`, `CERTIFICATE_INVALID`.
 */
export function tlsCredentials(
  paths: { readonly peer: CertificatePaths; readonly client: CertificatePaths },
  options: TlsOptions,
): Credentials {
  const files = new CertificateFiles({ paths: paths.peer, ...options });
  const channels = new Map<number, ChannelCredentials>();
  const channelTo = (member: number): ChannelCredentials => {
    let channel = channels.get(member);
    if (channel === undefined) {
      channel = channelOf(files, (host, certificate) => refusedAs(member, host, certificate));
      channels.set(member, channel);
    }
    return channel;
  };
  const peer: PeerCredentials = {
    ...linkOf(files),
    channelTo,
    checkCaller: (call, member) => {
      if (!shows(call, memberUri(member))) throw notTheMember(member);
    },
  };
  return { ...tlsClientCredentials(paths.client, options), peer };
}

function linkOf(files: CertificateFiles): LinkCredentials {
  return {
    server: experimental.createCertificateProviderServerCredentials(files, files, true),
    channel: channelOf(files, checkServerIdentity),
  };
}

function channelOf(
  files: CertificateFiles,
  check: (host: string, certificate: PeerCertificate) => Error | undefined,
): ChannelCredentials {
  return experimental.createCertificateProviderChannelCredentials(files, files, {
    checkServerIdentity: check,
  });
}

/** The usual check of the host comes first; a member's name is asked for besides. */
function refusedAs(member: number, host: string, certificate: PeerCertificate): Error | undefined {
  const wrongHost = checkServerIdentity(host, certificate);
  if (wrongHost !== undefined) return wrongHost;
  return names(certificate, memberUri(member)) ? undefined : notTheMember(member);
}

/** True if a call came with a certificate that holds this name; never without certificates. */
export function shows(call: IncomingCall, uri: string): boolean {
  const certificate = call.getAuthContext().sslPeerCertificate;
  return certificate !== undefined && names(certificate, uri);
}

function names({ subjectaltname = '' }: PeerCertificate, uri: string): boolean {
  return subjectaltname.split(', ').includes(`URI:${uri}`);
}

function notTheMember(member: number): TidemarkError {
  return new TidemarkError('UNAUTHORIZED', `the certificate does not name ${memberUri(member)}`, {
    next: `Give that member a certificate with the name URI:${memberUri(member)}, or correct who is dialled.`,
  });
}
