import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { inject } from 'vitest';
import type { BrokerReply, BrokerRequest } from './broker-protocol.ts';

/** Asks vitest's global setup for something that a whole run shares. */
export async function ask(request: BrokerRequest): Promise<string> {
  const socket = connect(inject('brokerPort'), '127.0.0.1');
  await once(socket, 'connect');
  socket.write(`${JSON.stringify(request)}\n`);
  const [line] = (await once(createInterface({ input: socket }), 'line')) as [string];
  const reply = JSON.parse(line) as BrokerReply;
  if (!reply.ok) throw new Error(reply.message);
  return reply.value;
}
