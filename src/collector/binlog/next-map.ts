/** Looks ahead in a binlog for how the rows behind a definition are logged. */
import { isTidemarkError } from '../../base/index.ts';
import type { BinlogStream } from './binlog-stream.ts';
import type { LoggedColumn } from './logged-column.ts';

const READ_WAIT_MS = 25;

export interface NextMap {
  /** Reads the one altered table behind a position, up to its first table map. */
  readonly open: (position: string) => BinlogStream;
  readonly close: (stream: BinlogStream) => Promise<void>;
  readonly position: string;
  /** Whether a position lies at or behind the end of the log, as it was when the table was looked at. */
  readonly isEnd: (position: string) => boolean;
}

/**
 * Finds the first table map of a table; undefined if it is altered once more before one, or the log ends, or
 * cannot be followed: whoever reads on comes to the same place.
 */
export async function nextMap(look: NextMap): Promise<readonly LoggedColumn[] | undefined> {
  let { position } = look;
  while (!look.isEnd(position)) {
    const stream = look.open(position);
    try {
      const found = await firstMap(stream, look.isEnd);
      if (found.type === 'logged') return found.columns;
      // A definition that alters no column is passed over.
      if (found.type !== 'definition' || found.statement !== '') return undefined;
      ({ position } = found);
    } catch (error) {
      if (isTidemarkError(error, 'SCHEMA_CHANGED', 'SOURCE_UNTELLABLE')) return undefined;
      throw error;
    } finally {
      await look.close(stream);
    }
  }
  return undefined;
}

type Found =
  | { readonly type: 'logged'; readonly columns: readonly LoggedColumn[] | undefined }
  | { readonly type: 'definition'; readonly statement: string; readonly position: string }
  | { readonly type: 'end' };

async function firstMap(stream: BinlogStream, isEnd: (position: string) => boolean): Promise<Found> {
  for (;;) {
    for (const event of await stream.take(READ_WAIT_MS)) {
      if (event.type === 'logged' || event.type === 'definition') return event;
      if (event.type === 'commit' && isEnd(event.position)) return { type: 'end' };
    }
  }
}
