/**
 * Every failure that a caller can see. Codes, retry advice, exit codes and gRPC statuses are API; the
 * texts of messages are not. `docs/reference/errors.md` is generated from this table.
 *
 * An outcome that is not known has a code of its own (`OUTCOME_UNKNOWN`) and is never told as a failure.
 */

import { EXIT, GRPC, row, type ErrorRow } from './error-row.ts';

export const ERRORS = {
  // The command line and configuration.
  USAGE: row('The command line is not understood.', 'never', EXIT.usage, GRPC.invalidArgument),
  CONFIG_INVALID: row(
    'A flag, an environment variable or the config file holds a bad value.',
    'never',
    EXIT.config,
    GRPC.invalidArgument,
  ),
  PORT_IN_USE: row(
    'A listen address is taken by another process.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  FILE_UNREADABLE: row('A named file cannot be read.', 'never', EXIT.notFound, GRPC.notFound),
  PEER_LOST: row('The process that started this one has gone.', 'never', EXIT.failed, GRPC.aborted),
  VERIFY_FAILED: row(
    'A report differs from its recomputation, or a window did not merge.',
    'never',
    EXIT.failed,
    GRPC.internal,
  ),
  VERIFY_UNKNOWN: row(
    'The run proved nothing: a required fault did not happen, or there was nothing to compare.',
    'never',
    EXIT.usage,
    GRPC.internal,
  ),

  // Cluster and consensus.
  NOT_LEADER: row(
    'The node asked does not lead the cluster.',
    'another-node',
    EXIT.unavailable,
    GRPC.unavailable,
  ),
  NO_LEADER: row('No leader answered in time.', 'later', EXIT.unavailable, GRPC.unavailable),
  TRANSFER_FAILED: row('The lead was not handed over.', 'later', EXIT.tryAgain, GRPC.aborted),
  OUTCOME_UNKNOWN: row(
    'It is not known whether the change took effect.',
    'same-request-id',
    EXIT.tryAgain,
    GRPC.unknown,
  ),
  NOT_INITIALIZED: row(
    'The cluster was never initialised.',
    'never',
    EXIT.unavailable,
    GRPC.failedPrecondition,
  ),
  ALREADY_INITIALIZED: row(
    'The node belongs to a cluster already.',
    'never',
    EXIT.failed,
    GRPC.alreadyExists,
  ),
  CLUSTER_MISMATCH: row(
    'The other side belongs to another cluster.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  MEMBER_MISMATCH: row(
    'The other side is another member than the one meant.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  MEMBERSHIP_CHANGE_PENDING: row(
    'Another change of the members is not complete yet.',
    'later',
    EXIT.tryAgain,
    GRPC.aborted,
  ),
  MEMBERSHIP_CHANGED: row(
    'The members are not those that the caller saw.',
    'never',
    EXIT.failed,
    GRPC.failedPrecondition,
  ),
  MEMBERSHIP_UNSAFE: row(
    'The change would leave the cluster without a quorum that answers.',
    'never',
    EXIT.failed,
    GRPC.failedPrecondition,
  ),
  LEARNER_BEHIND: row(
    'The learner does not hold the log yet, or does not answer.',
    'later',
    EXIT.tryAgain,
    GRPC.failedPrecondition,
  ),
  MEMBER_UNKNOWN: row('The cluster has no such member.', 'never', EXIT.notFound, GRPC.notFound),
  MEMBER_EXISTS: row('A member has that address already.', 'never', EXIT.failed, GRPC.alreadyExists),
  MEMBER_UNREACHABLE: row(
    'The coordinator that was to be added cannot be reached.',
    'never',
    EXIT.unavailable,
    GRPC.failedPrecondition,
  ),
  MEMBER_REMOVED: row(
    'The member was removed from the cluster; its id is never used again.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  LOG_FULL: row(
    'The replicated log has reached its bound.',
    'never',
    EXIT.unavailable,
    GRPC.resourceExhausted,
  ),
  OVERLOADED: row(
    'Too much is waiting already; nothing was accepted.',
    'later',
    EXIT.tryAgain,
    GRPC.resourceExhausted,
  ),
  MESSAGE_TOO_LARGE: row(
    'A message is larger than its limit.',
    'never',
    EXIT.badInput,
    GRPC.resourceExhausted,
  ),
  FORMAT_UNKNOWN: row(
    'Data was written by another version of Tidemark.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  DATA_CORRUPT: row('Stored data is damaged.', 'never', EXIT.config, GRPC.dataLoss),
  SNAPSHOT_INVALID: row(
    'The file is no whole snapshot of Tidemark: it is damaged, cut off, or something else.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  FILE_EXISTS: row('A file that is to be made is there already.', 'never', EXIT.usage, GRPC.alreadyExists),
  FOLDER_NOT_EMPTY: row(
    'A data folder that is to be made holds something already.',
    'never',
    EXIT.usage,
    GRPC.alreadyExists,
  ),
  DATA_IN_USE: row('Another process uses the data folder.', 'never', EXIT.config, GRPC.failedPrecondition),
  DATA_OF_OTHER_CLUSTER: row(
    'The data folder belongs to another cluster or member.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  STORAGE_FAILED: row('A write to disk failed; the process ends.', 'never', EXIT.failed, GRPC.dataLoss),
  STOPPING: row('The process is stopping.', 'another-node', EXIT.tryAgain, GRPC.unavailable),
  UNAUTHORIZED: row('The caller may not do this.', 'never', EXIT.failed, GRPC.permissionDenied),
  CERTIFICATE_INVALID: row(
    'A certificate or its key cannot be used.',
    'never',
    EXIT.config,
    GRPC.invalidArgument,
  ),
  TLS_REFUSED: row(
    'One side does not accept the certificate of the other.',
    'another-node',
    EXIT.config,
    GRPC.unavailable,
  ),
  STATE_DIVERGED: row(
    'The state of this member differs from that of the others.',
    'never',
    EXIT.failed,
    GRPC.dataLoss,
  ),
  BAD_REQUEST: row(
    'A request does not have the form that the protocol requires.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  INTERNAL: row('A mistake of Tidemark itself.', 'never', EXIT.internal, GRPC.internal),

  // Replicated state: answers of commands.
  SESSION_EXPIRED: row('The session is not known any more.', 'never', EXIT.tryAgain, GRPC.failedPrecondition),
  SEQUENCE_STALE: row(
    'A request number of a session was used before and its answer is gone.',
    'never',
    EXIT.failed,
    GRPC.failedPrecondition,
  ),
  STATE_FULL: row(
    'The table of keys has reached its bound; deletes are still taken.',
    'never',
    EXIT.failed,
    GRPC.resourceExhausted,
  ),
  STALE_TERM: row('The command was made under an older leader.', 'later', EXIT.tryAgain, GRPC.aborted),
  STALE_EPOCH: row('A newer collector was granted the source.', 'never', EXIT.failed, GRPC.aborted),
  STALE_VERSION: row('A newer version of the task was granted.', 'never', EXIT.failed, GRPC.aborted),
  WINDOW_GAP: row(
    'A window does not begin where the last one ended.',
    'never',
    EXIT.failed,
    GRPC.failedPrecondition,
  ),
  UNKNOWN_EXECUTOR: row('No such executor.', 'never', EXIT.notFound, GRPC.notFound),
  UNKNOWN_SINK: row('No such report database.', 'never', EXIT.notFound, GRPC.notFound),
  UNKNOWN_SOURCE: row('No such source.', 'never', EXIT.notFound, GRPC.notFound),
  UNKNOWN_REPORT: row('No such report.', 'never', EXIT.notFound, GRPC.notFound),
  UNKNOWN_TASK: row('No such task.', 'never', EXIT.notFound, GRPC.notFound),
  TASK_FINISHED: row('The task is finished already.', 'never', EXIT.failed, GRPC.failedPrecondition),
  EXECUTOR_NAME_TAKEN: row(
    'Another executor that lives has this name.',
    'later',
    EXIT.config,
    GRPC.alreadyExists,
  ),
  NO_EXECUTOR: row('No executor is connected.', 'later', EXIT.unavailable, GRPC.unavailable),

  // Job files.
  JOB_SYNTAX: row('The job file is not valid YAML.', 'never', EXIT.badInput, GRPC.invalidArgument),
  JOB_INVALID: row('The job file does not follow its schema.', 'never', EXIT.badInput, GRPC.invalidArgument),
  JOB_UNSUPPORTED: row(
    'The job file asks for something that this version does not do yet.',
    'never',
    EXIT.badInput,
    GRPC.unimplemented,
  ),
  TOPOLOGY_INVALID: row(
    'The store shards of a job lose a slot, name one twice, or share a database.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  TOPOLOGY_FIXED: row(
    'Sealed windows lie in the databases as they are declared: only replicas may change.',
    'never',
    EXIT.badInput,
    GRPC.failedPrecondition,
  ),
  REPORT_NOT_COLOCATED: row(
    'Rows that a report joins may lie on different store shards.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  REPORT_ON_SEALED_SOURCE: row(
    'A report cannot be added or changed on a source that has sealed windows yet.',
    'never',
    EXIT.badInput,
    GRPC.unimplemented,
  ),
  SECRET_MISSING: row(
    'A secret that the job refers to is not there.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  SQL_INVALID: row(
    'The SQL of a report is refused by the database or by the report contract.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  SQL_COLUMNS: row(
    'The SQL of a report returns other columns than declared.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  MEASURE_TYPE: row(
    'A measure has a type that cannot be kept exactly.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  TABLE_MISSING: row('A table named by the job does not exist.', 'never', EXIT.badInput, GRPC.notFound),
  TABLE_NO_PRIMARY_KEY: row(
    'A captured table has no primary key.',
    'never',
    EXIT.badInput,
    GRPC.failedPrecondition,
  ),
  TABLE_CASCADES: row(
    'A captured table has a cascading foreign key, whose changes the binlog does not tell.',
    'never',
    EXIT.badInput,
    GRPC.failedPrecondition,
  ),
  TABLE_SECOND_UNIQUE: row(
    'A captured embedded table has a UNIQUE index beside its primary key, so REPLACE removes rows unseen.',
    'never',
    EXIT.badInput,
    GRPC.failedPrecondition,
  ),
  COLUMN_TYPE: row(
    'A column has a type that cannot be captured.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),

  // Sources and databases.
  DB_UNREACHABLE: row('A database does not answer.', 'later', EXIT.unavailable, GRPC.unavailable),
  DB_ACCESS: row(
    'A database refuses the account or a privilege is missing.',
    'never',
    EXIT.config,
    GRPC.permissionDenied,
  ),
  DB_BUSY: row(
    'A database is busy for the moment (lock wait, deadlock, too many connections).',
    'later',
    EXIT.tryAgain,
    GRPC.aborted,
  ),
  DB_FAILED: row('A database refused a statement.', 'never', EXIT.failed, GRPC.failedPrecondition),
  DB_OUTCOME_UNKNOWN: row(
    'A connection was lost while a transaction was being committed.',
    'same-request-id',
    EXIT.tryAgain,
    GRPC.unknown,
  ),
  DB_NOT_STARTED: row('A private database server did not start.', 'never', EXIT.failed, GRPC.internal),
  BINLOG_NOT_ROW: row(
    'The source does not write its binlog in full row format.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  BINLOG_NO_GTID: row('The source does not use GTIDs.', 'never', EXIT.config, GRPC.failedPrecondition),
  BINLOG_PURGED: row(
    'The source has purged the binlog that is needed next.',
    'never',
    EXIT.failed,
    GRPC.dataLoss,
  ),
  SOURCE_UNTELLABLE: row(
    'The source did something whose row changes its log does not tell.',
    'never',
    EXIT.failed,
    GRPC.dataLoss,
  ),
  SCHEMA_CHANGED: row('A captured table was altered.', 'never', EXIT.failed, GRPC.failedPrecondition),
  ENGINE_MISSING: row(
    'The library for a database engine is not installed.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),

  // Merging.
  FENCED: row('A newer grant has been here; nothing was changed.', 'never', EXIT.failed, GRPC.aborted),
  FOLDED: row('The window has been folded away; nothing was changed.', 'never', EXIT.failed, GRPC.aborted),
  SINK_EPOCH: row(
    'The report database is under another sink epoch; nothing was changed.',
    'later',
    EXIT.tryAgain,
    GRPC.aborted,
  ),
  SINK_OF_OTHER_CLUSTER: row(
    'The report database belongs to another cluster.',
    'never',
    EXIT.config,
    GRPC.failedPrecondition,
  ),
  WINDOW_INCOMPLETE: row(
    'The store does not show all rows of a sealed window.',
    'later',
    EXIT.tryAgain,
    GRPC.unavailable,
  ),
  STATE_FENCED: row(
    'A newer grant has advanced the row states of this store shard.',
    'never',
    EXIT.failed,
    GRPC.aborted,
  ),
  STATE_GAP: row(
    'The row states of this store shard do not hold the window before the first one given.',
    'never',
    EXIT.failed,
    GRPC.failedPrecondition,
  ),
  STATE_BEHIND: row(
    'The row states of the store do not hold the last window of the span yet.',
    'later',
    EXIT.tryAgain,
    GRPC.unavailable,
  ),
  KEY_NULL: row('A report key is NULL.', 'never', EXIT.failed, GRPC.failedPrecondition),
  CONTRIBUTION_TOO_LARGE: row(
    'A window adds more rows to a report than one merge may hold.',
    'never',
    EXIT.failed,
    GRPC.resourceExhausted,
  ),
  VALUE_RANGE: row('A value does not fit its column.', 'never', EXIT.failed, GRPC.failedPrecondition),
  DECIMAL_EMBEDDED: row(
    'DECIMAL is not exact on the embedded engine.',
    'never',
    EXIT.badInput,
    GRPC.invalidArgument,
  ),
  CANCELLED: row('The work was cancelled.', 'never', EXIT.failed, GRPC.aborted),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;
