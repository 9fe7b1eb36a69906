/** What a table map event of a binlog says of a table's columns. */

/** Type codes of the MySQL protocol, as a table map shows them. */
export const LOGGED_TYPE = {
  tiny: 1,
  short: 2,
  long: 3,
  float: 4,
  double: 5,
  longlong: 8,
  int24: 9,
  date: 10,
  year: 13,
  varchar: 15,
  bit: 16,
  timestamp2: 17,
  datetime2: 18,
  time2: 19,
  newDecimal: 246,
  enumeration: 247,
  set: 248,
  blob: 252,
  string: 254,
} as const;

/** A column as a table map event shows it. */
export interface LoggedColumn {
  readonly name: string;
  readonly charset: string | null;
  /** One of {@link LOGGED_TYPE}, or a type that cannot be captured. */
  readonly type: number;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Its type as in a definition, without its character set; undefined where the log does not say. */
  readonly declared?: string | undefined;
  /** Undefined where the log does not say. */
  readonly unsigned?: boolean | undefined;
  /** Of an ENUM or SET; undefined where the log does not say. */
  readonly members?: readonly string[] | undefined;
}
