/**
 * Keys and values over one stream of a client. Writes go through the log under the client's own session and
 * sequence; reads are answered by every member, once it has applied what the leader confirmed after they
 * came, one round for all of a turn. What one turn answers leaves in one frame, or in as many as it needs.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, isTidemarkError, mutated } from '../../base/index.ts';
import type { StateView } from '../../statemachine/index.ts';
import {
  asBuffer,
  decodeKeyValueRequests,
  encodeKeyValueReplies,
  guardStream,
  type GuardedStream,
  type KeyValueFound,
  type KeyValueFrame,
  type KeyValueReply,
  type KeyValueRequest,
} from '../../wire/index.ts';
import type { ClusterFace } from './client-service.ts';
import { codedOrThrow, withLeader } from '../coded-error.ts';

/** What the service needs of a node that belongs to a cluster. */
export type KeyValueFace = Pick<ClusterFace, 'raft' | 'proposer'> & {
  readonly view: () => Pick<StateView, 'keyValues'>;
};
type Write = Extract<KeyValueRequest, { kind: 'write' }>;
/** With what frame and numbers add, half of what a message may be. */
const FRAME_BYTES_MAX = LIMITS.grpcMessageBytesMax / 2;
const NO_VALUE = new Uint8Array(0);
type Read = Extract<KeyValueRequest, { kind: 'read' }>;

/**
 * Serves one stream of a client until it ends.
 * @param face throws `NOT_INITIALIZED`, or `NOT_LEADER` while a member is starting
 */
export function serveKeyValues(
  face: () => KeyValueFace,
  call: ServerDuplexStream<KeyValueFrame, KeyValueFrame>,
): void {
  let waiting = 0;
  let replies: KeyValueReply[] = [];
  const stream: GuardedStream<KeyValueFrame> = guardStream<KeyValueFrame, KeyValueFrame>(call, {
    onMessage({ payload }) {
      for (const request of decodeKeyValueRequests(payload)) {
        waiting += 1;
        if (waiting > LIMITS.keyValueRequestsPerStreamMax) {
          throw new TidemarkError('OVERLOADED', `${waiting} requests of one stream wait for their answer`);
        }
        void answer(face, request).then(reply);
      }
    },
    onClosed: () => undefined,
  });
  const reply = (one: KeyValueReply): void => {
    waiting -= 1;
    replies.push(one);
    if (replies.length > 1) return;
    // After all that the present callback brings, and before the loop goes on.
    process.nextTick(() => {
      const frames = inFrames(replies);
      replies = [];
      for (const frame of frames) stream.write({ payload: asBuffer(encodeKeyValueReplies(frame)) });
    });
  };
}

/** Splits what would be too large for one message; one reply never is. */
function inFrames(replies: KeyValueReply[]): KeyValueReply[][] {
  const frames: KeyValueReply[][] = [];
  let bytes = Infinity;
  for (const reply of replies) {
    const more = sizeOf(reply);
    bytes += more;
    if (bytes > FRAME_BYTES_MAX && !(mutated('coordinator.repliesInOneFrame') && frames.length > 0)) {
      frames.push([]);
      bytes = more;
    }
    frames.at(-1)?.push(reply);
  }
  return frames;
}

/** Bytes of a reply, about. */
function sizeOf(reply: KeyValueReply): number {
  if (reply.kind === 'written') return reply.results.length;
  if (reply.kind === 'failed') return reply.message.length;
  let bytes = 0;
  for (const { value } of reply.values) bytes += value.length;
  return bytes;
}

async function answer(face: () => KeyValueFace, request: KeyValueRequest): Promise<KeyValueReply> {
  let cluster: KeyValueFace | undefined;
  try {
    cluster = face();
    await cluster.raft.settled();
    return await (request.kind === 'write' ? write(cluster, request) : read(cluster, request));
  } catch (error) {
    // Refused because the lead moved: soon it is known where to.
    if (isTidemarkError(error, 'NOT_LEADER')) await cluster?.raft.settled();
    const known = cluster === undefined ? codedOrThrow(error) : withLeader(error, cluster.raft.status());
    return failed(request, known.code, { message: known.message, leader: known.details['leader'] ?? '' });
  }
}

async function write({ proposer }: KeyValueFace, request: Write): Promise<KeyValueReply> {
  const { session, sequence, acked, writes } = request;
  if (session === 0) return failed(request, 'BAD_REQUEST', { message: 'session 0 is not one of a client' });
  const as = { session, sequence, acked };
  const [result] = await proposer.propose([{ type: 'kv.write', v: 1, writes }], as);
  if (result === undefined) throw new TidemarkError('INTERNAL', 'a key-value write was not answered');
  if (!result.ok) return failed(request, result.code, { message: result.message, leader: '' });
  const results = result.value['results'];
  if (!(results instanceof Uint8Array)) {
    // A sequence of this session was used for something else before.
    return failed(request, 'BAD_REQUEST', { message: 'the sequence is of another request', leader: '' });
  }
  return { kind: 'written', id: sequence, results };
}

async function read({ raft, view }: KeyValueFace, request: Read): Promise<KeyValueReply> {
  await raft.readIndex();
  const { keyValues } = view();
  const values: KeyValueFound[] = [];
  let bytes = 0;
  for (const path of request.paths) {
    const row = keyValues.get(path);
    const value = row?.value ?? NO_VALUE;
    bytes += value.length;
    if (values.length > 0 && bytes > LIMITS.keyValueReadBytesMax) break;
    values.push({ value, revision: row?.revision ?? 0, version: row?.version ?? 0 });
  }
  return { kind: 'found', id: request.id, values };
}

function failed(
  request: KeyValueRequest,
  code: string,
  { message, leader = '' }: { readonly message: string; readonly leader?: string },
): KeyValueReply {
  const id = request.kind === 'write' ? request.sequence : request.id;
  return { kind: 'failed', of: request.kind, id, code, message, leader };
}
