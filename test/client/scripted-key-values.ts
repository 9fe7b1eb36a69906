/** A coordinator that answers each key-value request as the test says, over real gRPC. */
import { Server, ServerCredentials, type ServerDuplexStream, type UntypedHandleCall } from '@grpc/grpc-js';
import { TidemarkError, encodeWritten, type ErrorCode } from '../../src/base/index.ts';
import {
  ClientService,
  KeyValueService,
  decodeKeyValueRequests,
  encodeKeyValueReplies,
  toServiceError,
  type KeyValueFrame,
  type KeyValueReply,
  type KeyValueRequest,
} from '../../src/wire/index.ts';

/** Several replies travel in one frame; an error ends the stream. */
export type KeyValueAnswer = KeyValueReply | readonly KeyValueReply[] | TidemarkError | 'silence' | 'cut';

export class ScriptedKeyValues {
  readonly asked: KeyValueRequest[] = [];
  address = '';
  sessions = 0;
  answer: (request: KeyValueRequest, before: number) => KeyValueAnswer = (request) => done(request);
  readonly #server = new Server();

  static start(): Promise<ScriptedKeyValues> {
    const made = new ScriptedKeyValues();
    const notCalled: UntypedHandleCall = () => undefined;
    const methods = Object.keys(ClientService).map((method) => [method, notCalled]);
    made.#server.addService(ClientService, {
      ...(Object.fromEntries(methods) as Record<string, UntypedHandleCall>),
      openSession: (_call: unknown, reply: (error: null, value: { sessionId: bigint }) => void) => {
        made.sessions += 1;
        reply(null, { sessionId: BigInt(made.sessions) });
      },
    });
    made.#server.addService(KeyValueService, {
      stream: (call: ServerDuplexStream<KeyValueFrame, KeyValueFrame>) => {
        made.#serve(call);
      },
    });
    return new Promise((resolve, reject) => {
      made.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
        made.address = `127.0.0.1:${port}`;
        if (error === null) resolve(made);
        else reject(error);
      });
    });
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  #serve(call: ServerDuplexStream<KeyValueFrame, KeyValueFrame>): void {
    call.on('end', () => call.end());
    call.on('data', ({ payload }: KeyValueFrame) => {
      for (const request of decodeKeyValueRequests(payload)) {
        const answer = this.answer(request, this.asked.length);
        this.asked.push(request);
        if (answer === 'cut') {
          call.end();
          return;
        }
        if (answer instanceof TidemarkError) {
          call.emit('error', toServiceError(answer));
          return;
        }
        if (answer === 'silence') continue;
        const replies = 'kind' in answer ? [answer] : answer;
        call.write({ payload: Buffer.from(encodeKeyValueReplies(replies)) });
      }
    });
  }
}

const idOf = (request: KeyValueRequest): number => (request.kind === 'write' ? request.sequence : request.id);

/** One write that took effect, or one key that was found. */
export function done(request: KeyValueRequest): KeyValueReply {
  const id = idOf(request);
  if (request.kind === 'write') {
    return { kind: 'written', id, results: encodeWritten([{ applied: true, revision: 9, previous: 0 }]) };
  }
  return { kind: 'found', id, values: [{ value: Buffer.from('found'), revision: 9, version: 1 }] };
}

export function refuse(request: KeyValueRequest, code: ErrorCode, leader = ''): KeyValueReply {
  return {
    kind: 'failed',
    of: request.kind,
    id: idOf(request),
    code,
    message: `refused with ${code}`,
    leader,
  };
}
