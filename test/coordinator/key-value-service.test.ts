import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { afterEach, expect } from 'vitest';
import { LIMITS } from '../../src/base/index.ts';
import { Endpoints } from '../../src/client/endpoints.ts';
import { serveKeyValues, type KeyValueFace } from '../../src/coordinator/clients/key-value-service.ts';
import {
  CHANNEL_OPTIONS,
  KeyValueService,
  asBuffer,
  decodeKeyValueReplies,
  encodeKeyValueRequests,
  guardStream,
  insecureCredentials,
  type KeyValueFrame,
  type KeyValueReply,
  type KeyValueRequest,
} from '../../src/wire/index.ts';
import { rule } from '../support/rule.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const VALUE = Buffer.alloc(LIMITS.keyValueBytesMax, 7);
/** A member whose every key holds the largest value that there may be. */
const FULL = {
  raft: { settled: () => undefined, readIndex: () => Promise.resolve(1), status: () => ({ members: [] }) },
  view: () => ({ keyValues: { get: () => ({ value: VALUE, revision: 1, version: 1 }) } }),
} as unknown as KeyValueFace;

async function listen(): Promise<string> {
  const server = new Server(CHANNEL_OPTIONS);
  server.addService(KeyValueService, {
    stream: (call: ServerDuplexStream<KeyValueFrame, KeyValueFrame>) => {
      serveKeyValues(() => FULL, call);
    },
  });
  cleanups.push(() => {
    server.forceShutdown();
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return `127.0.0.1:${port}`;
}

rule('coordinator.repliesInOneFrame', 'answers all that one stream may have under way at once', async () => {
  const address = await listen();
  const endpoints = new Endpoints([address], insecureCredentials());
  cleanups.push(() => {
    endpoints.close();
  });
  const paths = Array.from({ length: 64 }, (_, at) => `ns/${at}`);
  const requests = Array.from({ length: LIMITS.keyValueRequestsPerStreamMax }, (_, id): KeyValueRequest => ({
    kind: 'read',
    id,
    paths,
  }));
  const replies = await new Promise<KeyValueReply[]>((resolve, reject) => {
    const found: KeyValueReply[] = [];
    const call = endpoints.openStream(address, KeyValueService.stream);
    const stream = guardStream<KeyValueFrame, KeyValueFrame>(call, {
      onMessage({ payload }) {
        found.push(...decodeKeyValueReplies(payload));
        if (found.length === requests.length) resolve(found);
      },
      onClosed: (error) => {
        reject(error ?? new Error('the stream ended'));
      },
    });
    stream.write({ payload: asBuffer(encodeKeyValueRequests(requests)) });
  });
  const counts = replies.map((reply) => (reply.kind === 'found' ? reply.values.length : 0));
  expect(counts).toEqual(requests.map(() => LIMITS.keyValueReadBytesMax / LIMITS.keyValueBytesMax));
});
