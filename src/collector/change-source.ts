/**
 * What the collector needs from a source, whichever database it is: a consistent snapshot of the captured
 * tables, their row changes after a position in commit order, and what the log's end is now.
 *
 * A position is opaque text. It always lies on a transaction's end, so that resuming from it can neither
 * repeat nor lose a part of a transaction (design 6.3).
 */
import type { SqlValue } from '../sql/index.ts';
import type { RowKey } from './snapshot/key-order.ts';
import type { SchemaChange } from './schema/schema-change.ts';

/** Values of one row image, in the order of `CapturedTable.columns`. */
export type RowValues = readonly SqlValue[];

/** What a reader delivers, in log order. An update is two changes: the before image, then the after image. */
export type SourceEvent =
  | { readonly type: 'change'; readonly table: number; readonly weight: 1 | -1; readonly row: RowValues }
  /** Everything up to here belongs to whole transactions; `position` names this place. */
  | { readonly type: 'commit'; readonly position: string }
  /**
   * A captured table may be another from here on. The last event of its reader: whoever reads on asks
   * {@link ChangeSource.redefined} first, then reads from `position`, which is behind the statement.
   */
  | { readonly type: 'definition'; readonly statement: string; readonly position: string };

/** What the source's clock said, and a position that holds everything committed before that. */
export interface SourceMoment {
  /** Milliseconds since 1970 by the source's clock. */
  readonly timeMs: number;
  readonly position: string;
}

export interface ChangeReader {
  /**
   * Resolves with the next events as soon as there are some, or with none after `waitMs`. The events of one
   * call are bounded; a large transaction comes in several calls. After an error every call rejects with it.
   * @throws TidemarkError `SCHEMA_CHANGED`, `SOURCE_UNTELLABLE`, `BINLOG_PURGED`, `VALUE_RANGE`, `DB_*`.
   */
  next(waitMs: number): Promise<readonly SourceEvent[]>;
  close(): Promise<void>;
}

/** Where a part of a snapshot begins: in this table, behind this key. */
export interface SnapshotPlace {
  readonly table: number;
  /** Undefined: with the table's first row. */
  readonly after: RowKey | undefined;
}

export interface SnapshotOptions {
  readonly from?: SnapshotPlace;
  /** Rows of one batch at most. */
  readonly batchRows?: number;
  /** Awaited once the position is known; no row is read if it answers false. */
  readonly begun?: (moment: SourceMoment) => Promise<boolean>;
}

export interface ReadOptions {
  /**
   * Asked for each transaction: whether its end is told although nothing captured changed in it. A chunk of
   * a snapshot enters at such an end. @default none is
   */
  readonly everyEnd?: () => boolean;
}

export interface ChangeSource {
  /**
   * Whether a snapshot may come in chunks: a reader can tell the end of every transaction, so that a chunk
   * enters exactly where the log has come to its position, and to learn a position locks nobody out. Known
   * once a snapshot has begun.
   */
  readonly hasChunks: boolean;
  /**
   * Reads rows of the captured tables as of one position, in batches, one table after the other, each in the
   * order of its key, until there are no more or `onRows` answers false. The returned moment is earlier than
   * or equal to that position.
   */
  snapshot(
    onRows: (table: number, rows: readonly RowValues[]) => Promise<boolean>,
    options?: SnapshotOptions,
  ): Promise<SourceMoment>;
  /** Delivers what was committed after `position`, under the definitions that were adopted last. */
  read(position: string, options?: ReadOptions): Promise<ChangeReader>;
  /** Compares every captured table with what it is now; empty if they are the same. @throws as below. */
  compared(): Promise<readonly SchemaChange[]>;
  /**
   * Tells what `statement` of the log, which ends at `position`, made of the table that it alters; empty if
   * that is the same. Whatever else differs by now is of later statements. With '', a definition that alters
   * no column, it only looks whether the tables can still be captured.
   * @throws TidemarkError `SCHEMA_CHANGED` when capture cannot go on: a table or its key is another, or the
   * log does not name columns.
   */
  redefined(statement: string, position: string): Promise<readonly SchemaChange[]>;
  /** Goes by these definitions from the next {@link read} on. */
  adopt(changes: readonly SchemaChange[]): void;
  /** Asks the source for its time and the end of its log; everything committed before that time is in it. */
  head(): Promise<SourceMoment>;
  /** Whether `position` holds everything that `other` holds. False when the two cannot be compared. */
  includes(position: string, other: string): boolean;
  /** Tells the source that nothing at or before `position` will be read again. */
  discard(position: string): Promise<void>;
  /** Drops every connection, also of readers; what was in progress rejects. */
  close(): Promise<void>;
}
