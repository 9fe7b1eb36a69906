/**
 * Reads a MySQL URL. Only what is listed here is taken from it: mysql2's own reader would pass any option on.
 */
import { TidemarkError } from '../base/index.ts';

export interface MysqlTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string | undefined;
  /** `verify`: TLS with a verified certificate. */
  readonly tls: 'off' | 'verify';
  /** host:port/database, for messages. */
  readonly label: string;
}

const NEXT = 'Write mysql://user:password@host:3306/database, with ?tls=verify for TLS.';

/** @throws TidemarkError `CONFIG_INVALID`; the message never holds the URL, which holds a password. */
export function parseMysqlUrl(url: string): MysqlTarget {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !['mysql:', 'mariadb:'].includes(parsed.protocol) || parsed.hostname === '') {
    throw new TidemarkError('CONFIG_INVALID', 'a database URL is not understood', { next: NEXT });
  }
  for (const name of parsed.searchParams.keys()) {
    if (name !== 'tls') {
      throw new TidemarkError('CONFIG_INVALID', `unknown option ${name} in a database URL`, { next: NEXT });
    }
  }
  const tls = parsed.searchParams.get('tls') ?? 'off';
  if (tls !== 'off' && tls !== 'verify') {
    throw new TidemarkError('CONFIG_INVALID', 'tls in a database URL is off or verify', { next: NEXT });
  }
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = parsed.port === '' ? 3306 : Number(parsed.port);
  const database = decode(parsed.pathname.replace(/^\//, ''));
  return {
    host,
    port,
    user: decode(parsed.username),
    password: decode(parsed.password),
    database: database === '' ? undefined : database,
    tls,
    label: `${parsed.hostname}:${port}${database === '' ? '' : `/${database}`}`,
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw new TidemarkError(
      'CONFIG_INVALID',
      'a database URL holds a % that is not followed by two hex digits',
      {
        next: 'Write %25 for a percent sign in a password.',
        cause,
      },
    );
  }
}
