/** What simulated clients ask for, as log entries of the product, and how they read the answers. */
import { decodeWritten, encodeWrites, keyValuePath } from '../../../src/base/index.ts';
import { decodeReplies, encodeEntry, type Operation } from '../../../src/statemachine/index.ts';

export type Request =
  | { readonly type: 'open' }
  /** Without a value the key is deleted. `expected`: the revision that it must stand at. */
  | {
      readonly type: 'write';
      readonly key: string;
      readonly value: string | undefined;
      readonly expected: number | undefined;
    };

/** One try of a client's request. `attempt` tells tries of the same request apart in the log. */
export interface Attempt {
  readonly attempt: number;
  readonly session: number;
  readonly sequence: number;
  /** Answers up to here will not be asked for again. */
  readonly acked: number;
  readonly request: Request;
}

export type Answer =
  | { readonly type: 'opened'; readonly session: number }
  | {
      readonly type: 'written';
      readonly applied: boolean;
      readonly revision: number;
      readonly previous: number;
    }
  | { readonly type: 'refused' };

export const REFUSED: Answer = { type: 'refused' };

export function pathOf(key: string): string {
  return keyValuePath('sim', key);
}

export function encodeAttempt({ attempt, session, sequence, acked, request }: Attempt): Uint8Array {
  const operations = [operationOf(request)];
  return encodeEntry({ logTimeMs: 0, wallMs: attempt, items: [{ session, sequence, acked, operations }] });
}

function operationOf(request: Request): Operation {
  if (request.type === 'open') return { type: 'session.open', v: 1, name: 'sim' };
  const { key, value, expected } = request;
  const write = { path: pathOf(key), value: value === undefined ? undefined : Buffer.from(value), expected };
  return { type: 'kv.write', v: 1, writes: encodeWrites([write]) };
}

/** Reads the reply to an entry that holds one attempt; an entry of consensus itself has none. */
export function answerOf(reply: Uint8Array): Answer | undefined {
  if (reply.length === 0) return undefined;
  const result = decodeReplies(reply)[0]?.[0];
  if (result?.ok !== true) return REFUSED;
  const { sessionId, results } = result.value;
  if (sessionId !== undefined) return { type: 'opened', session: Number(sessionId) };
  const written = results instanceof Uint8Array ? decodeWritten(results)[0] : undefined;
  return written === undefined ? REFUSED : { type: 'written', ...written };
}
