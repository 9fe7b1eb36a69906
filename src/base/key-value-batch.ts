/**
 * Key-value writes and their answers as bytes. A client makes a batch once; the leader, every log and every
 * follower carry it unchanged, and it is read when it is applied. Lists are flat, for they are made and
 * read hundreds of times in a turn.
 */
import { decode, encode, type Encodable } from './codec.ts';
import { TidemarkError } from './tidemark-error.ts';
import { LIMITS } from './limits.ts';

const BATCH_FORMAT = 1;
/** On the wire: no condition. */
const ANY = -1;

export interface KeyValueWrite {
  /** `namespace/key`, see {@link keyValuePath}. */
  readonly path: string;
  /** Undefined deletes. */
  readonly value: Uint8Array | undefined;
  /** The revision that the key must stand at, 0 if it must not exist; undefined: whatever it stands at. */
  readonly expected: number | undefined;
}

export interface KeyValueWritten {
  /** False if the key stood at another revision than expected; nothing was changed then. */
  readonly applied: boolean;
  /** Revision of the key after the write, 0 if there is none. */
  readonly revision: number;
  /** Revision of the key before it, 0 if there was none. */
  readonly previous: number;
}

const NAMESPACE = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/**
 * Makes the path of a key, under which it is stored.
 * @throws TidemarkError `BAD_REQUEST` for a bad namespace, an empty or too long key, or one that is no text.
 */
export function keyValuePath(namespace: string, key: string): string {
  if (!NAMESPACE.test(namespace)) {
    throw bad(`a namespace is 1 to 63 of a-z 0-9 . _ - and begins with a letter or digit: ${namespace}`);
  }
  const path = `${namespace}/${key}`;
  const problem = pathProblem(path);
  if (problem !== undefined) throw bad(problem);
  return path;
}

/** @throws TidemarkError `BAD_REQUEST` for a value above `keyValueBytesMax`. */
export function checkKeyValue(value: Uint8Array): void {
  if (value.length <= LIMITS.keyValueBytesMax) return;
  throw bad(`a value of ${value.length} bytes; at most ${LIMITS.keyValueBytesMax} are stored`);
}

export function encodeWrites(writes: readonly KeyValueWrite[]): Uint8Array {
  const list: Encodable[] = [];
  for (const { path, value, expected } of writes) list.push(path, value ?? null, expected ?? ANY);
  return encode(BATCH_FORMAT, list);
}

/** @throws TidemarkError `BAD_REQUEST`: then nothing of the batch is to be used. */
export function decodeWrites(bytes: Uint8Array): KeyValueWrite[] {
  const list = listOf(bytes, 'key-value writes', 3 * LIMITS.keyValueWritesPerBatchMax);
  const writes: KeyValueWrite[] = [];
  for (let i = 0; i < list.length; i += 3) writes.push(writeOf(list[i], list[i + 1], list[i + 2]));
  return writes;
}

function writeOf(path: unknown, value: unknown, expected: unknown): KeyValueWrite {
  if (typeof path !== 'string') throw bad('a key is not a text');
  const problem = pathProblem(path);
  if (problem !== undefined) throw bad(problem);
  if (value !== null && !(value instanceof Uint8Array)) throw bad('a value is not bytes');
  if (value !== null) checkKeyValue(value);
  if (expected !== ANY && !isNatural(expected)) throw bad('an expected revision is not a natural number');
  return { path, value: value ?? undefined, expected: expected === ANY ? undefined : expected };
}

export function encodeWritten(results: readonly KeyValueWritten[]): Uint8Array {
  const list: number[] = [];
  for (const { applied, revision, previous } of results) list.push(applied ? 1 : 0, revision, previous);
  return encode(BATCH_FORMAT, list);
}

/** @throws TidemarkError `BAD_REQUEST`. */
export function decodeWritten(bytes: Uint8Array): KeyValueWritten[] {
  const list = listOf(bytes, 'key-value answers', 3 * LIMITS.keyValueWritesPerBatchMax);
  if (!list.every(isNatural)) throw bad('key-value answers: not natural numbers');
  const results: KeyValueWritten[] = [];
  for (let i = 0; i < list.length; i += 3) {
    results.push({ applied: list[i] === 1, revision: list[i + 1] ?? 0, previous: list[i + 2] ?? 0 });
  }
  return results;
}

function listOf(bytes: Uint8Array, what: string, lengthMax: number): unknown[] {
  let list: unknown;
  try {
    list = decode(BATCH_FORMAT, bytes, what);
  } catch (cause) {
    if (!(cause instanceof TidemarkError)) throw cause;
    throw new TidemarkError('BAD_REQUEST', cause.message, { cause });
  }
  if (!Array.isArray(list) || list.length % 3 !== 0 || list.length > lengthMax) {
    throw bad(`${what}: not a list of the right length`);
  }
  return list as unknown[];
}

function isNatural(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** With the flag `u` only halves of surrogate pairs match: they have no UTF-8 form. */
const NO_TEXT = /\p{Surrogate}/u;

function pathProblem(path: string): string | undefined {
  const slash = path.indexOf('/');
  if (slash < 1 || slash === path.length - 1) return 'a key needs a namespace and at least one character';
  // A character has at most three bytes for each of its UTF-16 units.
  if (path.length * 3 > LIMITS.keyBytesMax && Buffer.byteLength(path) > LIMITS.keyBytesMax) {
    return `a key has at most ${LIMITS.keyBytesMax} bytes, its namespace included`;
  }
  return NO_TEXT.test(path) ? 'a key is not well-formed text' : undefined;
}

function bad(message: string): TidemarkError {
  return new TidemarkError('BAD_REQUEST', message);
}
