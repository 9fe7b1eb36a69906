/**
 * Which expressions give another value at another time, in another session or on another server: a deleted
 * row would not take away what it added (design 6.1). The lists are what MariaDB 10.11, MySQL 8 and libsql
 * have; a test asks the embedded engine for its own list.
 */
import { mutated } from '../../base/index.ts';
import type { EngineKind, Token } from '../../sql/index.ts';
import { functionName, keyword } from './sql-blocks.ts';
import { words } from './words.ts';

/** Functions that do so whatever they are called with. */
const UNSTABLE = words(
  // Time and chance.
  'NOW SYSDATE CURDATE CURTIME RAND RANDOM RANDOMBLOB RANDOM_BYTES UUID UUID_SHORT SYS_GUID',
  // Encrypted with a salt of chance, or with a key or in a way of the server's.
  'ENCRYPT DES_ENCRYPT DES_DECRYPT PASSWORD',
  // The session, and what was done in it.
  'CONNECTION_ID PS_CURRENT_THREAD_ID PS_THREAD_ID USER SESSION_USER SYSTEM_USER DATABASE SCHEMA',
  'LAST_INSERT_ID LAST_INSERT_ROWID LAST_ROWS_AFFECTED ROW_COUNT FOUND_ROWS CHANGES TOTAL_CHANGES',
  // The order in which rows happen to be read.
  'ROWNUM',
  // What others do: locks, sequences, replication, files, time spent.
  'SLEEP BENCHMARK GET_LOCK RELEASE_LOCK RELEASE_ALL_LOCKS IS_FREE_LOCK IS_USED_LOCK',
  'NEXTVAL LASTVAL SETVAL LOAD_FILE LOAD_EXTENSION READFILE WRITEFILE SHA3_QUERY SQLITE_LOG',
  'MASTER_POS_WAIT MASTER_GTID_WAIT SOURCE_POS_WAIT BINLOG_GTID_POS WAIT_FOR_EXECUTED_GTID_SET',
  'WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS WSREP_LAST_SEEN_GTID WSREP_LAST_WRITTEN_GTID',
  'WSREP_SYNC_WAIT_UPTO_GTID',
  // What the server is.
  'VERSION ICU_VERSION ROLES_GRAPHML SQLITE_VERSION SQLITE_SOURCE_ID SQLITE_COMPILEOPTION_GET',
  'SQLITE_COMPILEOPTION_USED SQLITE3MC_VERSION SQLITE3MC_CONFIG SQLITE3MC_CONFIG_TABLE',
  'SQLITE3MC_CODEC_DATA FTS3_TOKENIZER',
);

/** Of these a bare word is a value already. */
const UNSTABLE_WORDS = words(
  'CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME UTC_TIMESTAMP',
  'CURRENT_USER CURRENT_ROLE',
);

/** The embedded engine's functions of time, which know the words below. */
const DATE_FUNCTIONS = words('DATE TIME DATETIME JULIANDAY UNIXEPOCH STRFTIME TIMEDIFF');
/** `now`, and the time zone of the process. `subsec` alone means now as well. */
const CLOCK_WORDS = words('NOW LOCALTIME UTC');

/** Names what is unstable about the value that begins at a token; undefined if nothing is. */
export function unstableValue(tokens: readonly Token[], at: number, kind: EngineKind): string | undefined {
  const word = keyword(tokens[at]);
  if (tokens[at - 1]?.text === '.' || mutated('job.unstableValuesPass')) return undefined;
  if (UNSTABLE_WORDS.has(word)) return word;
  const isOfSequence = word === 'NEXT' || word === 'PREVIOUS';
  if (isOfSequence && keyword(tokens[at + 1]) === 'VALUE' && keyword(tokens[at + 2]) === 'FOR') {
    return `${word} VALUE FOR`;
  }
  const called = functionName(tokens, at);
  if (called === '') return undefined;
  if (UNSTABLE.has(called)) return called;
  if (called === 'UNIX_TIMESTAMP' && tokens[at + 2]?.text === ')') return 'UNIX_TIMESTAMP()';
  return kind === 'embedded' && DATE_FUNCTIONS.has(called) ? unstableDate(tokens, at, called) : undefined;
}

/** Without a time of its own such a function takes the present one. */
function unstableDate(tokens: readonly Token[], at: number, called: string): string | undefined {
  const depth = (tokens[at + 1]?.depth ?? 0) + 1;
  const close = tokens.findIndex(
    (token, place) => place > at + 1 && token.depth < depth && token.text === ')',
  );
  const inside = tokens.slice(at + 2, close);
  const commas = inside.filter((token) => token.depth === depth && token.text === ',').length;
  const [first] = inside;
  const isOfFormat = called === 'STRFTIME';
  const clock = inside.find(({ kind, text }) => kind === 'string' && CLOCK_WORDS.has(inner(text)));
  if (clock !== undefined) return `${called}(... ${clock.text} ...)`;
  const hasTime = isOfFormat ? commas > 0 : first !== undefined;
  const time = isOfFormat ? inside[inside.findIndex((token) => token.text === ',') + 1] : first;
  const isSubsecond = time?.kind === 'string' && ['SUBSEC', 'SUBSECOND'].includes(inner(time.text));
  return hasTime && !isSubsecond ? undefined : `${called}() without a time`;
}

const inner = (text: string): string => text.slice(1, -1).trim().toUpperCase();
