/** What zongji, mysql2 or the server say while a binlog is read, as one of our codes. */
import { DECLARE_AGAIN, TidemarkError } from '../../base/index.ts';
import { mysqlError } from '../../sql/index.ts';

/** ER_MASTER_FATAL_ERROR_READING_BINLOG: many causes, told apart by their text only. */
const FATAL_READING = 1236;
/** MariaDB: the position is not in the server's binlog at all (1945, 1955). */
const NOT_IN_BINLOG: readonly unknown[] = [1945, 1955];
const PURGED = /purged|could not find GTID state|Could not find first log/i;
/** The position lies in a log that this server does not have, or no more. */
const DIVERGED = /not in the master's binlog|slave has diverged|slave has more GTIDs/i;
/** zongji: the table as it is now does not fit the event. */
const ALTERED = /schema changed between binlog event|Insufficient permissions to access/i;
/** zongji: events that it names but cannot decode. */
const UNDECODABLE = /TRANSACTION_PAYLOAD_EVENT|PARTIAL_UPDATE_ROWS_EVENT|Unsupported type/;

export function binlogError(error: unknown, label: string): TidemarkError {
  const { errno, message = String(error) } = error as { errno?: number; message?: string };
  if (errno === FATAL_READING && DIVERGED.test(message)) {
    const what = `${label}: its binlog is another than the one that was read: ${message}`;
    return new TidemarkError('BINLOG_DIVERGED', what, { next: DECLARE_AGAIN, cause: error });
  }
  if (NOT_IN_BINLOG.includes(errno) || (errno === FATAL_READING && PURGED.test(message))) {
    return new TidemarkError(
      'BINLOG_PURGED',
      `${label}: the binlog that is needed next is gone: ${message}`,
      {
        next: DECLARE_AGAIN,
        cause: error,
      },
    );
  }
  if (ALTERED.test(message)) {
    return new TidemarkError('SCHEMA_CHANGED', `${label}: ${message}`, { next: DECLARE_AGAIN, cause: error });
  }
  if (UNDECODABLE.test(message)) {
    return new TidemarkError('SOURCE_UNTELLABLE', `${label}: ${message}`, { cause: error });
  }
  // A dump connection that fails for any other reason is opened anew by the next collector.
  if (errno === undefined || errno === FATAL_READING) {
    return new TidemarkError('DB_UNREACHABLE', `${label}: reading the binlog failed: ${message}`, {
      cause: error,
    });
  }
  return mysqlError(error, label, { lost: false, outcomeUnknown: false });
}
