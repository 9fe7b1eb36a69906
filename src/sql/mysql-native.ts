/** Opens a connection of mysql2 in the one way in which it is used here. */
import mysql from 'mysql2';
import { TidemarkError } from '../base/index.ts';
import type { ConnectOptions } from './engine.ts';
import type { MysqlTarget } from './mysql-address.ts';
import { mysqlError } from './mysql-errors.ts';

/** Silence after which TCP asks whether the server is still there while a long statement runs. */
const KEEP_ALIVE_MS = 10_000;

/** See engine-options.ts. */
export interface MysqlWaits {
  readonly lockWaitMs: number;
  readonly connectMs: number;
  readonly statementMs: number;
}

export type MysqlConnectOptions = ConnectOptions &
  MysqlWaits & {
    /**
     * Whether a text may hold several statements, so that they go in one round trip. Not where SQL runs that
     * others wrote: our tokenizer, which refuses it there, might read a text otherwise than the server.
     */
    readonly batches?: boolean;
  };

/** @throws TidemarkError as `MysqlConnection.open`. */
export function connectNative(target: MysqlTarget, options: MysqlConnectOptions): Promise<mysql.Connection> {
  const { host, port, user, password, database, tls, label } = target;
  const { signal } = options;
  if (signal?.aborted === true) return Promise.reject(new TidemarkError('CANCELLED', `${label}: cancelled`));
  const native = mysql.createConnection({
    host,
    port,
    user,
    password,
    ...(database === undefined ? {} : { database }),
    ...(tls === 'verify' ? { ssl: { rejectUnauthorized: true, verifyIdentity: true } } : {}),
    connectTimeout: options.connectMs,
    enableKeepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    charset: 'utf8mb4_bin',
    timezone: 'Z',
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    jsonStrings: true,
    stringifyObjects: true,
    multipleStatements: options.batches === true,
    namedPlaceholders: false,
    flags: ['-LOCAL_FILES'],
    connectAttributes: { program_name: `tidemark/${options.purpose}` },
  });
  // Without a handler a connection that fails while nobody waits for it would end the process.
  native.on('error', ignoreHere);
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      native.destroy();
      reject(new TidemarkError('CANCELLED', `${label}: cancelled`));
    };
    signal?.addEventListener('abort', abort, { once: true });
    native.connect((error) => {
      signal?.removeEventListener('abort', abort);
      if (error === null) {
        resolve(native);
        return;
      }
      native.destroy();
      reject(mysqlError(error, label, { lost: true, outcomeUnknown: false }));
    });
  });
}

/** What fails is told by the callback of the call that failed, or found by the next one. */
function ignoreHere(): void {
  return;
}
