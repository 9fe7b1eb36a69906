/**
 * What the server or mysql2 says, as one of our codes. Numbers are those of MySQL and MariaDB (the
 * MariaDB ones begin at 1900 where they differ); the state class decides where no number is listed.
 */
import { mutated, TidemarkError, type ErrorCode } from '../base/index.ts';

/** What mysql2 puts on its errors. */
interface NativeError {
  readonly message: string;
  readonly code?: string;
  readonly errno?: number;
  readonly sqlState?: string;
  readonly fatal?: boolean;
}

const BY_NUMBER: Readonly<Record<number, ErrorCode>> = {
  1040: 'DB_BUSY', // too many connections
  1203: 'DB_BUSY', // too many connections of this user
  1226: 'DB_BUSY', // a resource limit of this user
  1205: 'DB_BUSY', // lock wait timeout
  1213: 'DB_BUSY', // deadlock
  1317: 'DB_BUSY', // the statement was killed, the connection was not
  1412: 'DB_BUSY', // a table was altered since the snapshot
  1614: 'DB_BUSY', // XA deadlock
  3572: 'DB_BUSY', // NOWAIT
  1020: 'DB_BUSY', // record has changed since the snapshot (MariaDB, innodb_snapshot_isolation)
  1290: 'DB_READ_ONLY', // read_only
  1836: 'DB_READ_ONLY', // super_read_only
  1969: 'SQL_TOO_SLOW', // max_statement_time (MariaDB)
  3024: 'SQL_TOO_SLOW', // max_execution_time (MySQL)
  1044: 'DB_ACCESS',
  1045: 'DB_ACCESS',
  1130: 'DB_ACCESS',
  1142: 'DB_ACCESS',
  1143: 'DB_ACCESS',
  1227: 'DB_ACCESS',
  1251: 'DB_ACCESS',
  1370: 'DB_ACCESS',
  1698: 'DB_ACCESS',
  1051: 'TABLE_MISSING',
  1146: 'TABLE_MISSING',
  1049: 'DB_FAILED', // unknown database
  1053: 'DB_UNREACHABLE', // shutdown in progress
  1158: 'DB_UNREACHABLE',
  1159: 'DB_UNREACHABLE',
  1160: 'DB_UNREACHABLE',
  1161: 'DB_UNREACHABLE',
  1927: 'DB_UNREACHABLE', // connection was killed (MariaDB)
  4031: 'DB_UNREACHABLE', // dropped for its silence (MySQL)
  1264: 'VALUE_RANGE',
  1265: 'VALUE_RANGE',
  1292: 'VALUE_RANGE',
  1366: 'VALUE_RANGE',
  1406: 'VALUE_RANGE',
  1690: 'VALUE_RANGE',
  1365: 'DIVISION_BY_ZERO',
  1792: 'SQL_WRITES', // in a read-only transaction
  1055: 'SQL_INVALID', // not in GROUP BY
  1305: 'SQL_INVALID', // no such function
  1060: 'SQL_INVALID', // duplicate column name
};

const BY_STATE: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^42S02$/, 'TABLE_MISSING'],
  [/^42S01$/, 'DB_FAILED'],
  [/^42S/, 'SQL_INVALID'],
  [/^(?:42000|21000)$/, 'SQL_INVALID'],
  [/^22/, 'VALUE_RANGE'],
  [/^08/, 'DB_UNREACHABLE'],
  [/^28/, 'DB_ACCESS'],
];

const DEADLOCK = 1213;

const LOST_CODES: ReadonlySet<string> = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'PROTOCOL_SEQUENCE_TIMEOUT',
]);

/** Duplicate keys: a statement's own error that callers tell apart by `details.reason`. */
const DUPLICATE: ReadonlySet<number> = new Set([1062, 1586]);

function isNative(error: unknown): error is NativeError {
  return error instanceof Error;
}

/** Whether the connection cannot be used any more after this error. */
export function isLost(error: unknown): boolean {
  if (!isNative(error)) return true;
  return error.fatal === true || codeOf(error, false) === 'DB_UNREACHABLE';
}

function codeOf(error: NativeError, lost: boolean): ErrorCode {
  if (error.code !== undefined && LOST_CODES.has(error.code)) return 'DB_UNREACHABLE';
  const listed = error.errno === undefined ? undefined : BY_NUMBER[error.errno];
  if (listed !== undefined) return listed;
  const state = error.sqlState ?? '';
  const found = BY_STATE.find(([pattern]) => pattern.test(state));
  if (found !== undefined) return found[1];
  return lost ? 'DB_UNREACHABLE' : 'DB_FAILED';
}

export function isDeadlock(error: unknown): boolean {
  return isNative(error) && error.errno === DEADLOCK;
}

/**
 * Maps what mysql2 threw. `where` names the server without secrets. `outcomeUnknown` says that the statement
 * may have taken effect if the connection was lost.
 */
export function mysqlError(
  error: unknown,
  where: string,
  state: { readonly lost: boolean; readonly outcomeUnknown: boolean },
): TidemarkError {
  if (error instanceof TidemarkError) return error;
  if (!isNative(error)) return new TidemarkError('DB_FAILED', `${where}: ${String(error)}`);
  const unknown = state.lost && state.outcomeUnknown && !mutated('sql.lostCommitIsFailure');
  const code = unknown ? 'DB_OUTCOME_UNKNOWN' : codeOf(error, state.lost);
  // mysql2 puts the whole statement on its errors: with the data in it, it has no place in a log.
  Reflect.deleteProperty(error, 'sql');
  const details: Record<string, string> = {};
  if (error.code !== undefined) details['native'] = error.code;
  if (error.errno !== undefined) details['errno'] = String(error.errno);
  if (error.errno !== undefined && DUPLICATE.has(error.errno)) details['reason'] = 'duplicate';
  return new TidemarkError(code, `${where}: ${error.message}`, { cause: error, details, ...nextStep(code) });
}

function nextStep(code: ErrorCode): { next?: string } {
  if (code === 'DB_UNREACHABLE')
    return { next: 'Check that the server runs and that host and port are right.' };
  if (code === 'DB_ACCESS') return { next: 'Check user, password and privileges of the account.' };
  return {};
}
