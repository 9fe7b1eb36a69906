/** Runs a command's one question to the cluster, and closes the connection whatever comes of it. */
import { EXIT } from '../../base/index.ts';
import { connect, type TidemarkClient } from '../../client/index.ts';
import { clientCredentialsOf, type ClientTlsValues } from '../tls.ts';

/** What every command that asks the cluster is told. */
export interface RemoteValues extends ClientTlsValues {
  readonly endpoints: readonly string[];
}

export async function withClient(
  values: RemoteValues,
  ask: (client: TidemarkClient) => Promise<void>,
): Promise<number> {
  const client = connectWith(values);
  try {
    await ask(client);
  } finally {
    client.close();
  }
  return EXIT.ok;
}

/** Makes a client that the caller closes. @throws TidemarkError `CONFIG_INVALID`, `CERTIFICATE_INVALID`. */
export function connectWith(values: RemoteValues): TidemarkClient {
  // A command ends before a certificate that is renewed meanwhile matters.
  const credentials = clientCredentialsOf(values, { onProblem: () => undefined });
  return connect({ endpoints: values.endpoints, credentials, name: 'cli' });
}
