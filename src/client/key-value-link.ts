/**
 * The one stream that all key-value requests of a client share: to any coordinator while it only reads, to
 * the leader once it writes. What one turn brings travels in one frame; a bounded number of requests is
 * under way. When the stream ends, or a coordinator says that it does not lead, everything unanswered is sent
 * again to the next one, writes under their first sequence.
 */
import {
  LIMITS,
  TidemarkError,
  decodeWritten,
  isErrorCode,
  toTidemarkError,
  type Cancel,
  type Clock,
  type ErrorCode,
} from '../base/index.ts';
import {
  KeyValueService,
  asBuffer,
  decodeKeyValueReplies,
  encodeKeyValueRequests,
  guardStream,
  type GuardedStream,
  type KeyValueFrame,
  type KeyValueReply,
  type KeyValueRequest,
} from '../wire/index.ts';
import type { Endpoints } from './endpoints.ts';
import {
  ReadBatch,
  WriteBatch,
  nobodyAnswered,
  outcomeUnknown,
  type WaitingRead,
  type WaitingWrite,
} from './key-value-requests.ts';

export interface KeyValueLinkOptions {
  readonly endpoints: Endpoints;
  readonly clock: Clock;
  /** Opens a session of the cluster. */
  readonly openSession: () => Promise<bigint>;
}

const OUTSTANDING_MAX = LIMITS.keyValueBatchesOutstandingMax;
const BATCH_MAX = LIMITS.keyValueWritesPerBatchMax;
const FRAME_BYTES = 1024 * 1024;
const TICK_MS = 20;
const PAUSE_FIRST_MS = 10;
const PAUSE_MAX_MS = 100;
/** Hints followed at once; two nodes that name each other must not be asked in a circle. */
const HINTS_AT_ONCE_MAX = 2;
/** A coordinator that fell silent is not gone back to on a hint for this long. */
const SHUN_MS = 2_000;
/** Refusals that an earlier attempt of the same batch got as well: by its bytes, or kept by the session. */
const DECIDED: readonly ErrorCode[] = ['STATE_FULL', 'BAD_REQUEST', 'MESSAGE_TOO_LARGE'];
const NOBODY = { address: '', untilMs: 0 };

type Failed = Extract<KeyValueReply, { kind: 'failed' }>;
interface Open {
  readonly stream: GuardedStream<KeyValueFrame>;
  readonly address: string;
}

export class KeyValueLink {
  readonly #options: KeyValueLinkOptions;
  #writes: WaitingWrite[] = [];
  #reads: WaitingRead[] = [];
  readonly #writeBatches = new Map<number, WriteBatch>();
  readonly #readBatches = new Map<number, ReadBatch>();
  #session: number | undefined;
  #sequence = 0;
  #readId = 0;
  #open: Open | undefined;
  #dialling = false;
  #turnPlanned = false;
  #closed = false;
  #heardMs = 0;
  #hints = 0;
  #pauseMs = PAUSE_FIRST_MS;
  #dialAtMs = 0;
  #shunned = NOBODY;
  #tick: Cancel | undefined;

  constructor(options: KeyValueLinkOptions) {
    this.#options = options;
  }

  /** @throws TidemarkError `OVERLOADED` when too many wait, `CANCELLED` once the client is closed. */
  write(waiting: WaitingWrite): void {
    this.#admit(this.#writes.length);
    this.#writes.push(waiting);
    this.#planTurn();
  }

  /** @throws TidemarkError as {@link write}. */
  read(waiting: WaitingRead): void {
    this.#admit(this.#reads.length);
    this.#reads.push(waiting);
    this.#planTurn();
  }

  close(): void {
    this.#closed = true;
    this.#tick?.();
    this.#leaveStream();
    for (const batch of this.#writeBatches.values()) batch.rejectAll(batch.failedWith(cancelled()));
    for (const batch of this.#readBatches.values()) batch.rejectAll(cancelled());
    for (const waiting of [...this.#writes, ...this.#reads]) waiting.reject(cancelled());
    this.#forgetAll();
  }

  #admit(queued: number): void {
    if (this.#closed) throw cancelled();
    if (queued >= LIMITS.keyValueQueuedMax) {
      throw new TidemarkError('OVERLOADED', `${queued} requests of this client wait already`);
    }
  }

  get #idle(): boolean {
    const outstanding = this.#writeBatches.size + this.#readBatches.size;
    return outstanding + this.#writes.length + this.#reads.length === 0;
  }

  /** Only writes need a session: whoever only reads asks any coordinator. */
  get #needsSession(): boolean {
    return this.#session === undefined && this.#writes.length + this.#writeBatches.size > 0;
  }

  #planTurn(): void {
    if (this.#turnPlanned || this.#closed) return;
    this.#turnPlanned = true;
    setImmediate(() => {
      this.#turnPlanned = false;
      this.#endTurn();
    });
  }

  #endTurn(): void {
    if (this.#closed || this.#idle) return;
    this.#tick ??= this.#options.clock.after(TICK_MS, () => {
      this.#onTick();
    });
    if (this.#needsSession) this.#leaveStream();
    if (this.#open === undefined) {
      if (!this.#dialling && this.#nowMs >= this.#dialAtMs) void this.#dial();
      return;
    }
    if (this.#writeBatches.size + this.#readBatches.size === 0) this.#heardMs = this.#nowMs;
    const requests: KeyValueRequest[] = [];
    while (this.#writes.length > 0 && this.#writeBatches.size < OUTSTANDING_MAX) {
      requests.push(this.#requestOf(this.#nextBatch()));
    }
    while (this.#reads.length > 0 && this.#readBatches.size < OUTSTANDING_MAX) {
      this.#readId += 1;
      const batch = new ReadBatch(this.#reads.splice(0, BATCH_MAX));
      this.#readBatches.set(this.#readId, batch);
      requests.push({ kind: 'read', id: this.#readId, paths: batch.paths });
    }
    this.#send(requests);
  }

  #nextBatch(): WriteBatch {
    let bytes = 0;
    let count = 0;
    for (const { item } of this.#writes) {
      // Three bytes at most for each UTF-16 unit of a key, and the codec's own.
      bytes += (item.value?.length ?? 0) + 3 * item.path.length + 20;
      if (count === BATCH_MAX || (count > 0 && bytes > LIMITS.keyValueBatchBytesMax - 16)) break;
      count += 1;
    }
    this.#sequence += 1;
    const batch = new WriteBatch(this.#sequence, this.#writes.splice(0, count));
    this.#writeBatches.set(batch.sequence, batch);
    return batch;
  }

  #requestOf(batch: WriteBatch): KeyValueRequest {
    batch.underWay = true;
    const [oldest] = this.#writeBatches.keys();
    const acked = (oldest ?? batch.sequence) - 1;
    const { sequence, bytes: writes } = batch;
    return { kind: 'write', session: this.#session ?? 0, sequence, acked, writes };
  }

  #send(requests: readonly KeyValueRequest[]): void {
    let frame: KeyValueRequest[] = [];
    let bytes = 0;
    for (const request of requests) {
      frame.push(request);
      bytes += request.kind === 'write' ? request.writes.length : request.paths.length * LIMITS.keyBytesMax;
      if (bytes < FRAME_BYTES) continue;
      this.#open?.stream.write({ payload: asBuffer(encodeKeyValueRequests(frame)) });
      frame = [];
      bytes = 0;
    }
    if (frame.length > 0) this.#open?.stream.write({ payload: asBuffer(encodeKeyValueRequests(frame)) });
  }

  async #dial(): Promise<void> {
    this.#dialling = true;
    try {
      if (this.#needsSession) this.#session = Number(await this.#options.openSession());
    } catch (error) {
      this.#rejectEverything(toTidemarkError(error));
    } finally {
      this.#dialling = false;
    }
    if (this.#closed || this.#needsSession || this.#idle) return;
    const { endpoints } = this.#options;
    const address = endpoints.preferred;
    const stream = guardStream<KeyValueFrame, KeyValueFrame>(
      endpoints.openStream(address, KeyValueService.stream),
      {
        onMessage: ({ payload }) => {
          this.#onReplies(decodeKeyValueReplies(payload));
        },
        onClosed: (error) => {
          if (this.#open?.stream !== stream) return;
          const known = error ?? new TidemarkError('NO_LEADER', 'the coordinator ended the stream');
          const final = known.code === 'BAD_REQUEST' || known.code === 'UNAUTHORIZED';
          // Refused before any handler: what this stream carried was not even read.
          if (known.code === 'UNAUTHORIZED') for (const batch of this.#writeBatches.values()) batch.refused();
          if (final) this.#rejectEverything(known);
          this.#moveOn(undefined);
        },
      },
    );
    this.#open = { stream, address };
    endpoints.warm();
    this.#heardMs = this.#nowMs;
    this.#send([
      ...[...this.#writeBatches.values()].map((batch) => this.#requestOf(batch)),
      ...[...this.#readBatches].map(([id, { paths }]) => ({ kind: 'read', id, paths }) as const),
    ]);
    this.#endTurn();
  }

  #onReplies(replies: readonly KeyValueReply[]): void {
    this.#heardMs = this.#nowMs;
    let refusal: Failed | undefined;
    for (const reply of replies) {
      if (reply.kind === 'failed') refusal = this.#onFailed(reply) ?? refusal;
      else this.#onAnswer(reply);
    }
    if (refusal === undefined) this.#planTurn();
    else this.#moveOn(refusal.leader === '' ? undefined : refusal.leader);
  }

  #onAnswer(reply: Exclude<KeyValueReply, Failed>): void {
    this.#hints = 0;
    this.#pauseMs = PAUSE_FIRST_MS;
    // Somebody leads and is heard: who is named from now on leads anew, also if it was silent before.
    this.#shunned = NOBODY;
    if (reply.kind === 'written') {
      const batch = this.#writeBatches.get(reply.id);
      const results = decodeWritten(reply.results);
      if (batch === undefined) return;
      if (results.length !== batch.size) throw new TidemarkError('BAD_REQUEST', 'answers of another batch');
      this.#writeBatches.delete(reply.id);
      batch.settle(results);
    } else {
      const batch = this.#readBatches.get(reply.id);
      this.#readBatches.delete(reply.id);
      batch?.settle(reply.values);
      const rest = batch?.takeFrom(reply.values.length) ?? [];
      if (rest.length > 0) this.#reads = [...rest, ...this.#reads];
    }
  }

  /** Returns the refusal if another coordinator is to be asked, or the same one again after a moment. */
  #onFailed(reply: Failed): Failed | undefined {
    const code = isErrorCode(reply.code) ? reply.code : 'INTERNAL';
    const error = new TidemarkError(code, reply.message);
    const batch = reply.of === 'write' ? this.#writeBatches.get(reply.id) : undefined;
    if (code === 'OUTCOME_UNKNOWN') {
      batch?.unanswered();
      return reply;
    }
    batch?.refused();
    if (error.retry === 'another-node' || code === 'OVERLOADED' || code === 'NOT_INITIALIZED') return reply;
    if (code === 'SESSION_EXPIRED') {
      this.#sessionEnded(error);
    } else if (reply.of === 'read') {
      this.#readBatches.get(reply.id)?.rejectAll(error);
      this.#readBatches.delete(reply.id);
    } else if (code === 'SEQUENCE_STALE') {
      this.#writeBatches.delete(reply.id);
      batch?.rejectAll(outcomeUnknown(error));
    } else {
      this.#writeBatches.delete(reply.id);
      batch?.rejectAll(DECIDED.includes(code) ? error : batch.failedWith(error));
    }
    return undefined;
  }

  /**
   * The cluster has dropped the session. What was sent once and refused surely had no effect, and goes under
   * a new session; what may have been carried out before that stays unknown.
   */
  #sessionEnded(error: TidemarkError): void {
    this.#session = undefined;
    const again: WaitingWrite[] = [];
    for (const batch of this.#writeBatches.values()) {
      if (batch.inDoubt) batch.rejectAll(outcomeUnknown(error));
      else again.push(...batch.takeFrom(0));
    }
    this.#writeBatches.clear();
    this.#writes = [...again, ...this.#writes];
    this.#leaveStream();
    this.#planTurn();
  }

  /** Goes to the leader that was named, or to the next coordinator after a moment. */
  #moveOn(hint: string | undefined): void {
    const address = this.#open?.address;
    this.#leaveStream();
    if (address === undefined || this.#closed) return;
    const shunned = this.#nowMs < this.#shunned.untilMs ? this.#shunned.address : undefined;
    const followed = hint === shunned ? undefined : hint;
    this.#options.endpoints.prefer(followed, address, shunned);
    this.#hints = followed === undefined ? HINTS_AT_ONCE_MAX : this.#hints + 1;
    if (this.#hints < HINTS_AT_ONCE_MAX) {
      this.#dialAtMs = 0;
      this.#planTurn();
      return;
    }
    this.#hints = 0;
    this.#dialAtMs = this.#nowMs + this.#pauseMs;
    this.#options.clock.after(this.#pauseMs, () => {
      this.#dialAtMs = 0;
      this.#planTurn();
    });
    this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MAX_MS);
  }

  #leaveStream(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.stream.end();
    for (const batch of this.#writeBatches.values()) batch.unanswered();
  }

  #onTick(): void {
    this.#tick = undefined;
    const nowMs = this.#nowMs;
    const unanswered = this.#writeBatches.size + this.#readBatches.size > 0;
    if (this.#open !== undefined && unanswered && nowMs - this.#heardMs > LIMITS.keyValueSilenceMs) {
      this.#shunned = { address: this.#open.address, untilMs: nowMs + SHUN_MS };
      this.#moveOn(undefined);
    }
    for (const [sequence, batch] of this.#writeBatches) {
      batch.expire(nowMs, () => batch.overdue());
      if (!batch.awaited) this.#writeBatches.delete(sequence);
    }
    for (const [id, batch] of this.#readBatches) {
      batch.expire(nowMs, nobodyAnswered);
      if (!batch.awaited) this.#readBatches.delete(id);
    }
    this.#writes = dropExpired(this.#writes, nowMs);
    this.#reads = dropExpired(this.#reads, nowMs);
    this.#planTurn();
  }

  #rejectEverything(error: TidemarkError): void {
    for (const batch of this.#writeBatches.values()) batch.rejectAll(batch.failedWith(error));
    for (const batch of this.#readBatches.values()) batch.rejectAll(error);
    for (const waiting of [...this.#writes, ...this.#reads]) waiting.reject(error);
    this.#forgetAll();
  }

  #forgetAll(): void {
    this.#writeBatches.clear();
    this.#readBatches.clear();
    this.#writes = [];
    this.#reads = [];
  }

  get #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}

function dropExpired<W extends WaitingWrite | WaitingRead>(waiting: W[], nowMs: number): W[] {
  if (!waiting.some(({ endsAt }) => endsAt <= nowMs)) return waiting;
  for (const one of waiting) if (one.endsAt <= nowMs) one.reject(nobodyAnswered());
  return waiting.filter(({ endsAt }) => endsAt > nowMs);
}

function cancelled(): TidemarkError {
  return new TidemarkError('CANCELLED', 'the client was closed');
}
