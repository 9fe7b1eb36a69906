/**
 * Random cases of reports over several changing inputs: a schema, a history of windows, a report, and how
 * it is cut into spans. A case is plain data, so that a failing one can be shown and made smaller.
 */
import type { MeasureKind } from '../../../src/job/index.ts';

export type Engine = 'mysql' | 'embedded';
export type Value = bigint | string | null;

/** Columns of every captured table besides its primary key, in the order of the schema. */
export const COLUMNS = ['shop', 'ref', 'n', 'v', 's'] as const;
export type ColumnName = 'id' | 'sub' | (typeof COLUMNS)[number];

export interface TableShape {
  readonly name: string;
  readonly primaryKey: readonly ('id' | 'sub' | 's')[];
  /** Null: replicated. */
  readonly shardKey: 'shop' | null;
  readonly columns: readonly ColumnName[];
}

export interface Schema {
  readonly seed: number;
  readonly engine: Engine;
  readonly shards: number;
  readonly tables: readonly TableShape[];
}

/** A row's values in the order of its table's columns. */
export type RowValues = readonly Value[];

export type Operation =
  | { readonly kind: 'insert'; readonly table: string; readonly row: RowValues }
  | { readonly kind: 'delete'; readonly table: string; readonly pick: number }
  | { readonly kind: 'update'; readonly table: string; readonly pick: number; readonly row: RowValues };

export interface Input {
  readonly alias: string;
  readonly kind: 'changes' | 'state' | 'dimension';
  readonly table: string;
}

export interface Reference {
  readonly alias: string;
  readonly column: ColumnName;
}

export interface Condition {
  readonly left: Reference;
  readonly right: Reference;
}

export interface Expression {
  readonly op: 'column' | 'add' | 'times' | 'coalesce';
  readonly left: Reference;
  readonly right: Reference;
  readonly type: 'BIGINT' | 'DECIMAL(8,2)' | 'TEXT(8)';
}

export interface Measure {
  readonly kind: MeasureKind;
  readonly value: Expression;
}

export interface Filter {
  readonly at: Reference;
  readonly op: '>' | '<>' | 'is not null';
  readonly value: bigint;
}

export interface Branch {
  readonly keys: readonly Expression[];
  readonly measures: readonly Measure[];
  readonly filter: Filter | undefined;
}

export interface JoinCase {
  readonly seed: number;
  readonly schema: Schema;
  readonly windows: readonly (readonly Operation[])[];
  readonly inputs: readonly Input[];
  readonly conditions: readonly Condition[];
  /** Several are joined by UNION ALL; keys and measures of all have the kinds and types of the first. */
  readonly branches: readonly Branch[];
  readonly form: 'join' | 'comma' | 'with';
  /** What a second report of one changing input computes over the same rows. */
  readonly beside: Branch | undefined;
  /** Windows that a first contribution from the row states takes together; 0: none. */
  readonly begin: number;
  /** Last windows of the spans after it. */
  readonly spans: readonly number[];
  /** Last windows of the transactions that advance the row states. */
  readonly advances: readonly number[];
}
