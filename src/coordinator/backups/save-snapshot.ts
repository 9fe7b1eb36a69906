/** Backups of a running member: its state as the bytes of a snapshot file, streamed to whoever asks. */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, type Clock } from '../../base/index.ts';
import { snapshotBytes } from '../../backup/index.ts';
import type { RaftNode } from '../../raft/index.ts';
import type { StateMachine } from '../../statemachine/index.ts';
import {
  guardStream,
  type GuardedStream,
  type SaveSnapshotRequest,
  type SnapshotPiece,
} from '../../wire/index.ts';
import { codedOrThrow, withLeader } from '../coded-error.ts';
import { checkFormat } from '../grpc-server.ts';
import { paced } from '../paced.ts';

const SAVE_FORMAT = 1;
const PIECE_BYTES = 1024 * 1024;

/** What saving needs of a node that belongs to a cluster. */
export interface SnapshotFace {
  readonly identity: { readonly clusterId: string };
  readonly raft: Pick<RaftNode, 'readIndex' | 'status'>;
  readonly snapshots: Pick<StateMachine['snapshots'], 'read'>;
  readonly clock: Clock;
}

/** Serves one backup after the other: each holds back what LevelDB may forget. */
export class SnapshotService {
  readonly #face: () => SnapshotFace;
  readonly #version: string;
  #busy = false;

  /** @param face throws `NOT_INITIALIZED`, or `NOT_LEADER` while a member is starting */
  constructor(face: () => SnapshotFace, version: string) {
    this.#face = face;
    this.#version = version;
  }

  serve(call: ServerWritableStream<SaveSnapshotRequest, SnapshotPiece>): void {
    const stream = guardStream<never, SnapshotPiece>(call, {
      onMessage: () => undefined,
      onClosed: () => undefined,
    });
    void this.#send(call.request, stream);
  }

  async #send({ format }: SaveSnapshotRequest, stream: GuardedStream<SnapshotPiece>): Promise<void> {
    if (this.#busy) {
      stream.fail(new TidemarkError('OVERLOADED', 'this coordinator gives out a backup already'));
      return;
    }
    this.#busy = true;
    let face: SnapshotFace | undefined;
    try {
      checkFormat(format, SAVE_FORMAT, 'the request for a snapshot');
      face = this.#face();
      const state = savedState(face, this.#version);
      for await (const bytes of paced(state, LIMITS.snapshotBytesPerSecond, face.clock)) {
        for (let at = 0; at < bytes.length && !stream.closed; at += PIECE_BYTES) {
          stream.write({ data: Buffer.from(bytes.subarray(at, at + PIECE_BYTES)) });
          await drained(stream, face.clock);
        }
        if (stream.closed) return;
      }
      stream.end();
    } catch (error) {
      stream.fail(face === undefined ? codedOrThrow(error) : withLeader(error, face.raft.status()));
    } finally {
      this.#busy = false;
    }
  }
}

/** The state as of an entry that is at least as new as the call. */
async function* savedState(
  { identity, raft, snapshots, clock }: SnapshotFace,
  version: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  await raft.readIndex();
  const { index, term, digest, chunks } = await snapshots.read();
  const { clusterId } = identity;
  yield* snapshotBytes({ clusterId, index, term, digest, version, savedMs: clock.wallMs() }, chunks);
}

/** Whoever asked and does not read must not hold the snapshot for ever. */
async function drained(stream: GuardedStream<SnapshotPiece>, clock: Clock): Promise<void> {
  const stop = clock.after(LIMITS.snapshotStallMs, () => {
    stream.fail(new TidemarkError('CANCELLED', `nobody read the snapshot for ${LIMITS.snapshotStallMs} ms`));
  });
  await stream.drained();
  stop();
}
