/** Runs a command's one question to the cluster, and closes the connection whatever comes of it. */
import { EXIT } from '../../base/index.ts';
import { connect, type TidemarkClient } from '../../client/index.ts';

export async function withClient(
  endpoints: readonly string[],
  ask: (client: TidemarkClient) => Promise<void>,
): Promise<number> {
  const client = connect({ endpoints, name: 'cli' });
  try {
    await ask(client);
  } finally {
    client.close();
  }
  return EXIT.ok;
}
