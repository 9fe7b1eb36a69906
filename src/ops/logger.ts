/**
 * Structured logs on stderr: results belong to stdout. One line a record, JSON for machines or a short text
 * for people. Written synchronously, so that the last line before an exit is not lost.
 */
import pino from 'pino';

export type LogFormat = 'json' | 'text';
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
  /** Makes a logger that adds `fields` to each of its lines. */
  child(fields: Readonly<Record<string, unknown>>): Logger;
}

export interface LoggerOptions {
  /** What kind of process writes: `coordinator`, `executor`, `dev`. */
  readonly role: string;
  /** @default 'info' */
  readonly level?: LogLevel;
  /** @default 'json' */
  readonly format?: LogFormat;
  /** Where whole lines go. @default file descriptor 2 */
  readonly write?: (line: string) => void;
}

/** Fields that are never written, wherever they stand. */
const SECRET_FIELDS = ['password', 'secret', 'authorization', 'url', 'databaseUrl'];

/** Makes the logger of a process. */
export function createLogger(options: LoggerOptions): Logger {
  const write = options.write ?? stderrWriter();
  const format = options.format ?? 'json';
  const stream = {
    write(line: string): void {
      const safe = redactText(line);
      write(format === 'json' ? safe : toText(safe));
    },
  };
  return pino(
    {
      level: options.level ?? 'info',
      base: { role: options.role, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[redacted]' },
    },
    stream,
  );
}

/** Takes passwords out of any URL in a line: messages of drivers quote what they were given. */
export function redactText(line: string): string {
  return line.replace(/:\/\/([^\s:/@"]*):[^\s@"]+@/g, '://$1:[redacted]@');
}

function stderrWriter(): (line: string) => void {
  const destination = pino.destination({ dest: 2, sync: true });
  return (line) => {
    destination.write(line);
  };
}

const STANDARD_FIELDS = new Set(['level', 'time', 'role', 'pid', 'component', 'msg', 'err']);

function toText(line: string): string {
  const record = JSON.parse(line) as Record<string, unknown>;
  const time = String(record['time']).slice(11, 23);
  const component = typeof record['component'] === 'string' ? `/${record['component']}` : '';
  const where = `${String(record['role'])}${component}`;
  const fields = Object.entries(record)
    .filter(([key]) => !STANDARD_FIELDS.has(key))
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const error = record['err'] as { message?: string; code?: string } | undefined;
  const cause = error === undefined ? '' : ` error=${error.code ?? ''} ${error.message ?? ''}`;
  const level = String(record['level']).padEnd(5);
  return `${time} ${level} ${where} ${String(record['msg'])}${fields.join('')}${cause}\n`;
}
