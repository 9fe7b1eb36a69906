/**
 * Keys of the tables. A number is written as one letter for its count of digits and then the digits
 * (`a7`, `b42`), so that the byte order of keys is the order of numbers without padding.
 */
import { assert } from '../../base/index.ts';
import { taskKey } from './records.ts';

const SEPARATOR = '/';
const FIRST_LETTER = 'a'.charCodeAt(0);

/** Writes a number such that text order is number order. */
export function orderedNumber(value: number): string {
  assert(Number.isSafeInteger(value) && value >= 0, () => `a key number is a natural number: ${value}`);
  const digits = String(value);
  return String.fromCharCode(FIRST_LETTER + digits.length - 1) + digits;
}

/** Key of the rows that are looked up by one id: sessions, executors, sinks, sources, reports. */
export const idKey = (id: number): string => orderedNumber(id);

/** Key of the tables that hold a single row: the cluster and the topology. */
export const SINGLE_KEY = '';

/** Prefix of all windows of a source, oldest first. */
export const windowPrefix = (sourceId: number): string => orderedNumber(sourceId) + SEPARATOR;

export const windowKey = (sourceId: number, window: number): string =>
  windowPrefix(sourceId) + orderedNumber(window);

/** Prefix of all tasks whose first window has this number, of all sources. */
export const taskWindowPrefix = (firstWindow: number): string => orderedNumber(firstWindow) + SEPARATOR;

/** Prefix of all spans of a report, of all of its generations. */
export const spanPrefix = (reportId: number): string => orderedNumber(reportId) + SEPARATOR;

export const spanKey = (span: Pick<TaskIdentity, 'reportId' | 'generation' | 'firstWindow'>): string =>
  spanPrefix(span.reportId) + [span.generation, span.firstWindow].map(orderedNumber).join(SEPARATOR);

/** What identifies a task. */
export interface TaskIdentity {
  readonly reportId: number;
  readonly generation: number;
  readonly firstWindow: number;
  readonly part: number;
}

/** Key of a task in its table: the oldest window first, so that older work is met first. */
export const taskRowKey = (task: TaskIdentity): string =>
  taskWindowPrefix(task.firstWindow) +
  [task.reportId, task.generation, task.part].map(orderedNumber).join(SEPARATOR);

const TASK_KEY = /^(0|[1-9]\d{0,15})\/(0|[1-9]\d{0,15})\/(0|[1-9]\d{0,15})\/(0|[1-9]\d{0,15})$/;

/** Reads the text form of a task's key (`taskKey` of records.ts); undefined if the text is none. */
export function parseTaskKey(text: string): TaskIdentity | undefined {
  const match = TASK_KEY.exec(text);
  if (match === null) return undefined;
  const [reportId, generation, firstWindow, part] = match.slice(1).map(Number);
  if (reportId === undefined || generation === undefined || firstWindow === undefined || part === undefined) {
    return undefined;
  }
  if (![reportId, generation, firstWindow, part].every(Number.isSafeInteger)) return undefined;
  const identity = { reportId, generation, firstWindow, part };
  return taskKey(identity) === text ? identity : undefined;
}

/** Key of a task's row from its text form; a text that is no task key gives a key that no row has. */
export function taskRowKeyOf(text: string): string {
  const identity = parseTaskKey(text);
  return identity === undefined ? '?' : taskRowKey(identity);
}
