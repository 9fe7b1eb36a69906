/**
 * The shape of a job file. What one field alone cannot tell (references, types of measures) is in
 * job-rules.ts.
 */
import { z } from 'zod';
import { LIMITS } from '../../base/index.ts';
import type { DatabaseRef, SecretRef, SlotRange } from '../model.ts';
import type { Path } from './problems.ts';

const NAME = /^[A-Za-z][A-Za-z0-9_]*$/;
/** Change tables carry the source's table name inside theirs, which has 64 characters in MySQL. */
const TABLE_NAME_MAX = 40;
const SQL_MAX = 64 * 1024;

const name = z
  .string()
  .max(LIMITS.nameLengthMax)
  .regex(NAME, 'a name is made of letters, digits and underscores and begins with a letter')
  .refine((text) => !/^tm_/i.test(text), 'names that begin with tm_ are Tidemark’s own');
const tableName = name.max(
  TABLE_NAME_MAX,
  `a captured table's name has at most ${TABLE_NAME_MAX} characters`,
);

const SECRET_FORMS = 'write {env: NAME} or {file: PATH}';

const secret = z.unknown().transform((value, context): SecretRef => {
  const fail = (message: string): never => {
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  };
  if (typeof value === 'string')
    return fail(`a URL holds a password and is never written here: ${SECRET_FORMS}`);
  if (typeof value !== 'object' || value === null) return fail(SECRET_FORMS);
  const [[kind, target] = [], ...more] = Object.entries(value);
  if (more.length > 0 || typeof target !== 'string' || target === '') return fail(SECRET_FORMS);
  if (kind === 'env') return { env: target };
  return kind === 'file' ? { file: target } : fail(SECRET_FORMS);
});

const mysql = z.strictObject({ url: secret });
const embedded = z.strictObject({ file: z.string().min(1).max(1_000) });
const databaseShape = { mysql: mysql.optional(), embedded: embedded.optional() };

interface EitherDatabase {
  readonly mysql?: z.output<typeof mysql> | undefined;
  readonly embedded?: z.output<typeof embedded> | undefined;
}

function databaseRef(value: EitherDatabase, context: z.RefinementCtx): DatabaseRef {
  if (value.mysql !== undefined && value.embedded === undefined) return { mysql: value.mysql };
  if (value.embedded !== undefined && value.mysql === undefined) return { embedded: value.embedded };
  context.addIssue({ code: 'custom', message: 'name one database: mysql or embedded' });
  return z.NEVER;
}

const database = z.strictObject(databaseShape).transform(databaseRef);

/** A primary and its replicas. */
const group = z
  .strictObject({ ...databaseShape, replicas: z.array(database).max(LIMITS.replicasMax).default([]) })
  .transform(({ replicas, ...either }, context) => ({ database: databaseRef(either, context), replicas }));

const slots = z.string().transform((text, context): SlotRange => {
  const [, first, last] = /^(\d{1,4})\s*-\s*(\d{1,4})$/.exec(text.trim()) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (range.first <= range.last && range.last < LIMITS.storeSlots) return range;
  const message = `slots are a range FIRST-LAST of 0 to ${LIMITS.storeSlots - 1}, as 0-511`;
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

const store = z
  .strictObject({
    ...databaseShape,
    replicas: z.array(database).max(LIMITS.replicasMax).default([]),
    slots: slots.optional(),
  })
  .transform(({ replicas, slots: range, ...either }, context) => ({
    database: databaseRef(either, context),
    replicas,
    ...(range === undefined ? {} : { slots: range }),
  }));

const TABLE_FORMS = 'a table is a name, {table: NAME, shardKey: COLUMN}, or {table: NAME, replicated: true}';
const placedTable = z
  .strictObject({ table: tableName, shardKey: name.optional(), replicated: z.boolean().optional() })
  .refine(({ shardKey, replicated }) => shardKey === undefined || replicated !== true, TABLE_FORMS);
const table = z.union([tableName, placedTable], { error: TABLE_FORMS });

const windowSchema = z.strictObject({
  lengthMs: z.int().min(100).max(600_000).default(3_000),
  rowsMax: z.int().min(1).max(LIMITS.windowRowsMax).default(LIMITS.windowRowsMax),
  bytesMax: z.int().min(1_024).max(LIMITS.windowBytesMax).default(LIMITS.windowBytesMax),
});

const source = z
  .strictObject({
    ...databaseShape,
    registration: z.strictObject({ mysql }).optional(),
    tables: z.array(table).min(1).max(LIMITS.tablesPerSourceMax),
    window: windowSchema.prefault({}),
  })
  .transform(({ tables, window, registration, ...either }, context) => ({
    database: databaseRef(either, context),
    tables,
    window,
    ...(registration === undefined ? {} : { registration }),
  }));

const input = z.strictObject({
  changes: tableName.optional(),
  dimension: tableName.optional(),
  state: tableName.optional(),
  touched: z.string().min(1).max(SQL_MAX).optional(),
});

const measure = z.strictObject({ kind: z.string(), type: z.string().optional() });

const report = z.strictObject({
  source: name.optional(),
  database: name.optional(),
  class: z.string().optional(),
  inputs: z.record(name, input),
  keys: z.record(name, z.string()),
  measures: z.record(name, measure),
  sql: z.string().min(1).max(SQL_MAX),
  paused: z.boolean().default(false),
});

export const jobSchema = z.strictObject({
  version: z.literal(1, { error: 'this program reads version: 1' }),
  job: name,
  sources: z.record(name, source),
  stores: z.record(name, store),
  databases: z.record(name, group),
  reports: z.record(name, report),
});

export type RawJob = z.output<typeof jobSchema>;
export type RawReport = RawJob['reports'][string];

/** Which keys there are at a place; `*` stands for any name. For did-you-mean. */
const KNOWN_KEYS: readonly (readonly [readonly string[], readonly string[]])[] = [
  [[], Object.keys(jobSchema.shape)],
  [
    ['sources', '*'],
    ['mysql', 'embedded', 'registration', 'tables', 'window'],
  ],
  [['sources', '*', 'window'], Object.keys(windowSchema.shape)],
  [
    ['sources', '*', 'tables', '*'],
    ['table', 'shardKey', 'replicated'],
  ],
  [
    ['stores', '*'],
    [...Object.keys(databaseShape), 'replicas', 'slots'],
  ],
  [
    ['databases', '*'],
    [...Object.keys(databaseShape), 'replicas'],
  ],
  [['*', '*', 'replicas', '*'], Object.keys(databaseShape)],
  [['*', '*', 'mysql'], Object.keys(mysql.shape)],
  [['*', '*', 'embedded'], Object.keys(embedded.shape)],
  [['reports', '*'], Object.keys(report.shape)],
  [['reports', '*', 'inputs', '*'], Object.keys(input.shape)],
  [['reports', '*', 'measures', '*'], Object.keys(measure.shape)],
];

export function knownKeys(path: Path): readonly string[] {
  const found = KNOWN_KEYS.find(
    ([pattern]) =>
      pattern.length === path.length && pattern.every((part, at) => part === '*' || part === path[at]),
  );
  return found?.[1] ?? [];
}
