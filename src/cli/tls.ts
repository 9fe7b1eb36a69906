/** Makes credentials of the flags about certificates: all of a side, or none of it. */
import { TidemarkError } from '../base/index.ts';
import {
  insecureCredentials,
  tlsClientCredentials,
  tlsCredentials,
  type CertificatePaths,
  type ClientCredentials,
  type Credentials,
  type TlsOptions,
} from '../wire/index.ts';

export interface ClientTlsValues {
  readonly clientCa: string | undefined;
  readonly clientCert: string | undefined;
  readonly clientKey: string | undefined;
}

export interface CoordinatorTlsValues extends ClientTlsValues {
  readonly peerCa: string | undefined;
  readonly peerCert: string | undefined;
  readonly peerKey: string | undefined;
}

/**
 * @throws TidemarkError `CONFIG_INVALID` when some of the files are named and others not, or as
 * {@link tlsClientCredentials}.
 */
export function clientCredentialsOf(values: ClientTlsValues, options: TlsOptions): ClientCredentials {
  const paths = clientPaths(values);
  return paths === undefined ? insecureCredentials() : tlsClientCredentials(paths, options);
}

/**
 * @throws TidemarkError `CONFIG_INVALID` when some of the files are named and others not (certificates for
 * clients alone would leave the door of the peers open), or as {@link tlsCredentials}.
 */
export function coordinatorCredentialsOf(values: CoordinatorTlsValues, options: TlsOptions): Credentials {
  const client = clientPaths(values);
  const peer = complete('peer', values.peerCa, values.peerCert, values.peerKey);
  if (client !== undefined && peer !== undefined) return tlsCredentials({ peer, client }, options);
  if (client === undefined && peer === undefined) return insecureCredentials();
  const missing = client === undefined ? 'client' : 'peer';
  throw new TidemarkError(
    'CONFIG_INVALID',
    `certificates are given for one side only; ${missing} ones lack`,
    {
      next: `Give --${missing}-ca, --${missing}-cert and --${missing}-key too, or none of the six.`,
    },
  );
}

function clientPaths(values: ClientTlsValues): CertificatePaths | undefined {
  return complete('client', values.clientCa, values.clientCert, values.clientKey);
}

function complete(
  side: string,
  ca: string | undefined,
  cert: string | undefined,
  key: string | undefined,
): CertificatePaths | undefined {
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  const all = `--${side}-ca, --${side}-cert and --${side}-key`;
  throw new TidemarkError('CONFIG_INVALID', `some of ${all} are given, others not`, {
    next: `Give all of ${all}, or none.`,
  });
}
