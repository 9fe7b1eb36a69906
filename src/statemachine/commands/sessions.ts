/**
 * Sessions make requests exactly-once (design section 4): a retry of (session, sequence) gets the bytes of
 * the first answer, on every node and after every failover. The window of kept answers is bounded; below
 * it a request is refused, never run again.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import { nextId } from './counters.ts';
import { idKey } from './keys.ts';
import type { ApplyMeta, OpenSession, OperationResult } from './operations.ts';
import type { SessionRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import type { StateWriter } from './writer.ts';

export function applyOpenSession(writer: StateWriter, input: OpenSession, meta: ApplyMeta): OperationResult {
  if (input.name.length > LIMITS.nameLengthMax) {
    return refuse('BAD_REQUEST', `a session name has at most ${LIMITS.nameLengthMax} characters`);
  }
  return accept({ sessionId: openSession(writer, input.name, meta) });
}

/** Makes a session; at the bound the one that was unused for longest, and belongs to no executor, ends. */
export function openSession(writer: StateWriter, name: string, meta: ApplyMeta): number {
  if (writer.sessions.size >= LIMITS.sessionsMax) evictOldest(writer);
  const id = nextId(writer, 'session');
  writer.sessions.put(idKey(id), {
    id,
    name,
    openedMs: meta.logTimeMs,
    lastUsedMs: meta.logTimeMs,
    replies: [],
    droppedSequence: 0,
  });
  return id;
}

function evictOldest(writer: StateWriter): void {
  const ofExecutors = new Set<number>();
  for (const executor of writer.executors.values()) ofExecutors.add(executor.sessionId);
  let oldest: SessionRecord | undefined;
  for (const session of writer.sessions.values()) {
    if (ofExecutors.has(session.id)) continue;
    if (oldest === undefined || session.lastUsedMs < oldest.lastUsedMs) oldest = session;
  }
  if (oldest !== undefined) writer.sessions.delete(idKey(oldest.id));
}

export type Admission =
  | { readonly kind: 'run' }
  | { readonly kind: 'answered'; readonly reply: Uint8Array }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Decides whether a request runs, gets its first answer again, or is refused. */
export function admit(writer: StateWriter, sessionId: number, sequence: number): Admission {
  const session = writer.sessions.get(idKey(sessionId));
  if (session === undefined) {
    return { kind: 'refused', refusal: refuse('SESSION_EXPIRED', `session ${sessionId} is not known`) };
  }
  if (mutated('state.sessionNotDeduplicated')) return { kind: 'run' };
  const answered = session.replies.find((kept) => kept.sequence === sequence);
  if (answered !== undefined) return { kind: 'answered', reply: answered.reply };
  if (sequence <= session.droppedSequence) {
    const message = `request ${sequence} of session ${sessionId} is older than the answers that are kept`;
    return { kind: 'refused', refusal: refuse('SEQUENCE_STALE', message) };
  }
  return { kind: 'run' };
}

/**
 * Keeps the answer of a request that ran, and drops those that the client has got. The latest answer is
 * always kept, whatever its size.
 */
export function remember(
  writer: StateWriter,
  request: {
    readonly session: number;
    readonly sequence: number;
    readonly acked: number;
    readonly reply: Uint8Array;
  },
  meta: ApplyMeta,
): void {
  const session = writer.sessions.get(idKey(request.session));
  // The request may have ended its own session.
  if (session === undefined) return;
  const acked = Math.min(request.acked, request.sequence - 1);
  const replies = session.replies.filter((kept) => kept.sequence > acked);
  replies.push({ sequence: request.sequence, reply: request.reply });
  let bytes = replies.reduce((sum, kept) => sum + kept.reply.length, 0);
  let droppedSequence = Math.max(session.droppedSequence, acked);
  while (
    replies.length > 1 &&
    (replies.length > LIMITS.sessionRepliesMax || bytes > LIMITS.sessionReplyBytesMax)
  ) {
    const dropped = replies.shift();
    if (dropped === undefined) break;
    bytes -= dropped.reply.length;
    droppedSequence = Math.max(droppedSequence, dropped.sequence);
  }
  writer.sessions.put(idKey(session.id), {
    ...session,
    lastUsedMs: meta.logTimeMs,
    replies,
    droppedSequence,
  });
}
