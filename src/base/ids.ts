/**
 * Branded numbers and strings: two of them cannot be mixed up without a compile error, and they cost
 * nothing at run time. Each has one maker that asserts its bounds.
 */
import { assert } from './assert.ts';

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A member of the Raft cluster; allocated by the log, never reused. */
export type MemberId = Brand<number, 'MemberId'>;
/** A Raft term. Fits the high 23 bits of a fencing token. */
export type Term = Brand<number, 'Term'>;
/** A position in the Raft log; the first entry is 1. */
export type LogIndex = Brand<number, 'LogIndex'>;
/** 16 random bytes in hex, made by `cluster init`. */
export type ClusterId = Brand<string, 'ClusterId'>;
/** A registered executor; allocated by the log, never reused. */
export type ExecutorId = Brand<number, 'ExecutorId'>;
/** A registered presence of a client or executor; allocated by the log, never reused. */
export type SessionId = Brand<number, 'SessionId'>;
export type SourceId = Brand<number, 'SourceId'>;
export type ReportId = Brand<number, 'ReportId'>;

/** The term has 23 bits in a fencing token. */
export const TERM_MAX = 2 ** 23 - 1;

function id(value: number, what: string, max = Number.MAX_SAFE_INTEGER): number {
  assert(Number.isSafeInteger(value) && value >= 0 && value <= max, () => `${what} out of range: ${value}`);
  return value;
}

export const memberId = (value: number): MemberId => id(value, 'member id') as MemberId;
export const term = (value: number): Term => id(value, 'term', TERM_MAX) as Term;
export const logIndex = (value: number): LogIndex => id(value, 'log index') as LogIndex;
export const executorId = (value: number): ExecutorId => id(value, 'executor id') as ExecutorId;
export const sessionId = (value: number): SessionId => id(value, 'session id') as SessionId;
export const sourceId = (value: number): SourceId => id(value, 'source id') as SourceId;
export const reportId = (value: number): ReportId => id(value, 'report id') as ReportId;

export function clusterId(value: string): ClusterId {
  assert(/^[0-9a-f]{32}$/.test(value), () => `cluster id must be 32 hex digits: ${value}`);
  return value as ClusterId;
}

/** Makes the name (a URI) by which a certificate tells which member presents it. */
export function memberUri(member: number): string {
  return `tidemark:member:${member}`;
}

/** The name (a URI) of a certificate with which only the work of an executor may be done. */
export const EXECUTOR_URI = 'tidemark:executor';
