/** The form of every operation as data, and the one function that compares a value with a form. */
import { GRANT_BITS, TOKEN_MAX } from '../../base/index.ts';
import type { OperationType } from './operations.ts';

/**
 * `natural`: a safe integer from 0 on. `token`: a fencing token as decimal text. `list`: checked by the
 * caller.
 */
type Kind = 'natural' | 'text' | 'token' | 'flag' | 'bytes' | 'texts' | 'list';
export type Shape = Readonly<Record<string, Kind | OneOf | ListOf | ObjectOf>>;
interface OneOf {
  readonly oneOf: readonly string[];
}
interface ListOf {
  readonly listOf: Shape;
}
interface ObjectOf {
  readonly objectOf: Shape;
}

const failure: Shape = { errorCode: 'text', errorMessage: 'text', retryAfterMs: 'natural' };

const copies: Shape[string] = {
  listOf: {
    reportId: 'natural',
    generation: 'natural',
    copies: { listOf: { table: 'text', rows: 'natural', checksum: 'text' } },
    lost: 'flag',
  },
};

const slice: Shape = {
  sourceId: 'natural',
  window: 'natural',
  epoch: 'token',
  from: 'text',
  to: 'text',
  day: 'text',
  topologyVersion: 'natural',
  schemaVersions: { listOf: { table: 'text', version: 'natural' } },
  shards: { listOf: { shard: 'text', rows: 'natural', checksum: 'text' } },
};

export const OPERATION_SHAPES: Readonly<Record<OperationType, Shape>> = {
  'session.open': { name: 'text' },
  'executor.register': {
    name: 'text',
    incarnation: 'text',
    slots: 'natural',
    version: 'text',
    engines: 'texts',
  },
  'executor.expire': { executorId: 'natural', reason: 'text' },
  'job.declare': {
    topology: {
      objectOf: { spec: 'text', shards: { listOf: { name: 'text', slots: 'text', members: 'texts' } } },
    },
    sinks: { listOf: { name: 'text', spec: 'text', members: 'texts' } },
    sources: {
      listOf: {
        name: 'text',
        spec: 'text',
        captured: 'texts',
        begins: 'texts',
        keptTables: 'natural',
        kept: 'text',
        sink: 'text',
      },
    },
    reports: {
      listOf: {
        name: 'text',
        spec: 'text',
        specHash: 'text',
        source: 'text',
        sink: 'text',
        parts: 'natural',
        readsStates: 'flag',
        paused: 'flag',
      },
    },
  },
  'sink.grant': { sinkId: 'natural', executorId: 'natural' },
  'sink.reconcile': {
    sinkId: 'natural',
    epoch: 'token',
    lacking: 'texts',
    missing: { listOf: { reportId: 'natural', generation: 'natural' } },
    folds: {
      listOf: { reportId: 'natural', generation: 'natural', window: 'natural', seal: 'text' },
    },
    last: 'flag',
  },
  'sink.fail': { sinkId: 'natural', epoch: 'token', ...failure },
  'prepare.grant': { sourceId: 'natural', executorId: 'natural' },
  'prepare.finish': { sourceId: 'natural', token: 'token', copies, ...failure },
  'collector.grant': { sourceId: 'natural', executorId: 'natural' },
  'collector.stop': { sourceId: 'natural', epoch: 'token', ...failure },
  'source.resnapshot': { sourceId: 'natural' },
  'window.seal': { ...slice, cursor: 'text', coversMs: 'natural' },
  'window.lost': { sourceId: 'natural', firstWindow: 'natural', lastWindow: 'natural' },
  'window.reseal': { ...slice, errorCode: 'text', errorMessage: 'text' },
  'span.open': {
    reportId: 'natural',
    generation: 'natural',
    firstWindow: 'natural',
    lastWindow: 'natural',
  },
  'report.grant': { reportId: 'natural', generation: 'natural', executorId: 'natural' },
  'report.finish': { reportId: 'natural', generation: 'natural', token: 'token', copies, ...failure },
  'copies.lose': { reportId: 'natural', generation: 'natural', prepared: 'token' },
  'schema.add': {
    sourceId: 'natural',
    epoch: 'token',
    table: 'text',
    version: 'natural',
    spec: 'text',
    replaced: 'text',
    captured: 'texts',
    addition: { objectOf: { former: 'text', spec: 'text', captured: 'texts' } },
    stops: { listOf: { reportId: 'natural', problem: 'text' } },
  },
  'fold.grant': { reportId: 'natural', generation: 'natural', window: 'natural', executorId: 'natural' },
  'fold.finish': {
    reportId: 'natural',
    generation: 'natural',
    token: 'token',
    window: 'natural',
    ...failure,
  },
  'drop.grant': { sourceId: 'natural', executorId: 'natural' },
  'drop.finish': { sourceId: 'natural', token: 'token', ...failure },
  'task.grant': {
    reportId: 'natural',
    generation: 'natural',
    firstWindow: 'natural',
    lastWindow: 'natural',
    part: 'natural',
    version: 'natural',
    executorId: 'natural',
    purpose: { oneOf: ['merge', 'DEAD', 'SKIPPED', 'CANCELLED'] },
    reason: 'text',
    failedAttempt: 'flag',
  },
  'task.finish': {
    key: 'text',
    version: 'natural',
    token: 'token',
    state: { oneOf: ['DONE', 'DEAD', 'SKIPPED', 'CANCELLED'] },
  },
  'task.park': { key: 'text', version: 'natural', delayMs: 'natural', reason: 'text' },
  'task.wake': { keys: 'texts' },
  'state.grant': {
    sourceId: 'natural',
    shard: 'text',
    firstWindow: 'natural',
    lastWindow: 'natural',
    executorId: 'natural',
    failedAttempt: 'flag',
  },
  'state.finish': { sourceId: 'natural', shard: 'text', token: 'token', window: 'natural', ...failure },
  'state.reset': { sourceId: 'natural', shard: 'text', token: 'token', window: 'natural' },
  'kv.write': { writes: 'bytes' },
  'cluster.restore': { formerId: 'text' },
};

/** Says how `value` differs from `shape`; undefined if it does not. Fields beyond the shape are allowed. */
export function mismatch(value: unknown, shape: Shape, what: string): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${what}: not an object`;
  const fields = value as Readonly<Record<string, unknown>>;
  for (const name in shape) {
    const kind = shape[name];
    if (kind === undefined) continue;
    const found = fields[name];
    const wrong = fieldMismatch(found, kind, `${what}.${name}`);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function fieldMismatch(value: unknown, kind: NonNullable<Shape[string]>, what: string): string | undefined {
  if (typeof kind === 'string') return isKind(value, kind) ? undefined : `${what}: not a ${kind}`;
  if ('objectOf' in kind) return mismatch(value, kind.objectOf, what);
  if ('oneOf' in kind) {
    return typeof value === 'string' && kind.oneOf.includes(value) ? undefined : `${what}: not a known value`;
  }
  if (!Array.isArray(value)) return `${what}: not a list`;
  for (const item of value) {
    const wrong = mismatch(item, kind.listOf, what);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function isKind(value: unknown, kind: Kind): boolean {
  switch (kind) {
    case 'natural':
      return Number.isSafeInteger(value) && (value as number) >= 0;
    case 'text':
      return typeof value === 'string';
    case 'flag':
      return typeof value === 'boolean';
    case 'bytes':
      return value instanceof Uint8Array;
    case 'token':
      return typeof value === 'string' && isTokenText(value);
    case 'texts':
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
    case 'list':
      return Array.isArray(value);
  }
}

function isTokenText(text: string): boolean {
  if (!/^[1-9]\d{0,18}$/.test(text)) return false;
  const token = BigInt(text);
  return token <= TOKEN_MAX && token >> GRANT_BITS > 0n;
}
