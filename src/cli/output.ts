/**
 * Where a command writes: its result to stdout, as a table or as one JSON document; progress and errors to
 * stderr. JSON documents begin with `format`; 64-bit numbers are decimal strings, ids are never cut.
 */
import { formatTable, type Column } from './table.ts';

export const OUTPUT_FORMATS = ['table', 'json'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** Grows when a field of any result changes its meaning or goes away. */
const JSON_FORMAT = 1;

export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface Output {
  readonly format: OutputFormat;
  readonly stdout: Stream;
  readonly stderr: Stream;
  /** Writes the command's one result. `human` makes the text for `--output table`. */
  result(document: Readonly<Record<string, unknown>>, human: () => string): void;
  /** A result that is a list of rows under `name`. */
  rows<R>(name: string, rows: readonly R[], columns: readonly Column<R>[]): void;
  progress(line: string): void;
}

export function createOutput(format: OutputFormat, stdout: Stream, stderr: Stream): Output {
  const result = (document: Readonly<Record<string, unknown>>, human: () => string): void => {
    stdout.write(`${format === 'json' ? toJson({ format: JSON_FORMAT, ...document }) : human()}\n`);
  };
  return {
    format,
    stdout,
    stderr,
    result,
    rows(name, rows, columns) {
      result({ [name]: rows }, () => (rows.length === 0 ? `no ${name}` : formatTable(rows, columns)));
    },
    progress(line) {
      stderr.write(`${line}\n`);
    },
  };
}

/** Tokens and ids of the wire are BigInts: they become decimal strings, so that no reader rounds them. */
export function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item),
    2,
  );
}
