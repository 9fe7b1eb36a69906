/** What SQLite says, as one of our codes. It has few numbers for its many errors, so texts decide too. */
import { TidemarkError, type ErrorCode } from '../base/index.ts';

const BY_CODE: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^SQLITE_(?:BUSY|LOCKED)/, 'DB_BUSY'],
  [/^SQLITE_(?:CORRUPT|NOTADB)/, 'DATA_CORRUPT'],
  [/^SQLITE_(?:PERM|AUTH|READONLY)/, 'DB_ACCESS'],
  [/^SQLITE_(?:CANTOPEN|IOERR|FULL|NOMEM)/, 'DB_UNREACHABLE'],
  [/^SQLITE_(?:TOOBIG|MISMATCH|CONSTRAINT_DATATYPE)/, 'VALUE_RANGE'],
];

const BY_TEXT: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^no such table/, 'TABLE_MISSING'],
  [/integer overflow|Loss of precision reading BigInt/, 'VALUE_RANGE'],
  [/^ConnectionFailed/, 'DB_UNREACHABLE'],
  [/syntax error|incomplete input|unrecognized token|near "|no tables specified/, 'SQL_INVALID'],
  [/no such (?:column|function)|ambiguous column|circular reference|misuse of/, 'SQL_INVALID'],
  [/wrong number of arguments|the same number of result columns|ha(?:s|ve) \d+ columns? but/, 'SQL_INVALID'],
];

/** Our own code of a result with too many rows. */
export const ROWS_MAX_CODE = 'TIDEMARK_ROWS_MAX';

/** Codes after which the connection is of no use any more. */
const ENDING: ReadonlySet<ErrorCode> = new Set(['DB_UNREACHABLE', 'DATA_CORRUPT']);

/** A statement left in the middle of its rows would keep its snapshot, so it ends the connection too. */
export const endsConnection = (error: TidemarkError): boolean =>
  ENDING.has(error.code) || error.details['native'] === ROWS_MAX_CODE;

export function embeddedError(native: { code: string; message: string }, file: string): TidemarkError {
  const code =
    BY_CODE.find(([pattern]) => pattern.test(native.code))?.[1] ??
    BY_TEXT.find(([pattern]) => pattern.test(native.message))?.[1] ??
    'DB_FAILED';
  const details: Record<string, string> = native.code === '' ? {} : { native: native.code };
  if (/^SQLITE_CONSTRAINT_(?:PRIMARYKEY|UNIQUE|ROWID)/.test(native.code)) details['reason'] = 'duplicate';
  return new TidemarkError(code, `${file}: ${native.message}`, { details, ...nextStep(code) });
}

function nextStep(code: ErrorCode): { next?: string } {
  if (code === 'DB_UNREACHABLE')
    return { next: 'Check that the folder exists, may be written and has space.' };
  if (code === 'DATA_CORRUPT')
    return { next: 'The file is no SQLite database or is damaged: name another one.' };
  return {};
}
