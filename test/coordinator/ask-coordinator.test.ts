import { createServer, type AddressInfo } from 'node:net';
import { Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { askStatus, sendInit } from '../../src/coordinator/members/ask-coordinator.ts';
import { CHANNEL_OPTIONS, ClientClient, insecureCredentials } from '../../src/wire/index.ts';
import { ScriptedCoordinator } from '../client/scripted-coordinator.ts';
import { rule } from '../support/rule.ts';

async function unusedAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

function bound(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

test('who has just begun to serve is asked at once, whoever dialled in vain before', async () => {
  const address = await unusedAddress();
  const credentials = insecureCredentials();
  const other = new ClientClient(address, credentials.client.channel, CHANNEL_OPTIONS);
  const server = new Server();
  try {
    await expect(
      new Promise((resolve, reject) => {
        other.status({}, new Metadata(), (error, reply) => {
          if (error === null) resolve(reply);
          else reject(error);
        });
      }),
    ).rejects.toThrow(/No connection established/);
    await bound(server, address);
    // The server has no services: it says that it does not know the call, which only who was reached can say.
    await expect(askStatus(credentials, address)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  } finally {
    other.close();
    server.forceShutdown();
  }
});

rule(
  'coordinator.openInitIsFailure',
  'an init that broke off elsewhere may have been carried out',
  async () => {
    const other = await ScriptedCoordinator.start();
    other.answer = () => 'cut';
    const credentials = insecureCredentials();
    try {
      const request = { format: 1, clientAddresses: [other.address] };
      await expect(sendInit(credentials, other.address, request)).rejects.toMatchObject({
        code: 'OUTCOME_UNKNOWN',
      });
      // A question is none the worse for it.
      await expect(askStatus(credentials, other.address)).rejects.toMatchObject({ code: 'NO_LEADER' });
      other.stop();
      await expect(sendInit(credentials, other.address, request)).rejects.toMatchObject({
        code: 'NO_LEADER',
      });
    } finally {
      other.stop();
    }
  },
);
