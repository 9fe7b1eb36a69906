/** A member's log while it does not run: made as a cluster's whole log so far, or read. */
import { TidemarkError, logIndex, must, type LogIndex, type Term } from '../../base/index.ts';
import { initialConfiguration } from '../configuration.ts';
import type { LogBase } from '../core/index.ts';
import { makeEntry, type Entry } from '../entry.ts';
import type { LogStore } from '../log-store/index.ts';
import type { Member, RaftOptions } from '../types.ts';
import { openLog } from './start.ts';

type Place = Pick<RaftOptions, 'clusterId' | 'memberId' | 'folder'>;

/** An entry as another member's log holds it. `data` is empty for entries of consensus itself. */
export interface OfflineEntry {
  readonly term: Term;
  readonly data: Uint8Array;
}

export interface FoundedLog extends Place {
  /** All of them are voters; each begins with the same log. */
  readonly members: readonly Member[];
  /** No vote and no entry of this term or an earlier one is ever possible again. */
  readonly term: Term;
  /** Where the state beside it stands. */
  readonly base: LogBase;
  /** What follows, in order. What they say of members is void. */
  readonly entries: AsyncIterable<OfflineEntry> | Iterable<OfflineEntry>;
}

const BATCH = 1_000;

/**
 * Makes the log of a member of a new cluster that begins with another one's state.
 * @throws TidemarkError as `makeRaftFolder`; `FOLDER_NOT_EMPTY` if there is a log.
 */
export async function foundRaftFolder(founded: FoundedLog): Promise<void> {
  const { members, term, base, entries, ...place } = founded;
  const start = { ...base, configuration: initialConfiguration(members) };
  const store = await openLog(place, false);
  try {
    if (store.hardState.term !== 0) {
      throw new TidemarkError('FOLDER_NOT_EMPTY', `${place.folder} holds a log already`);
    }
    await store.write({
      hardState: { term, vote: undefined },
      log: { from: logIndex(base.index + 1), entries: [], base: start },
    });
    let last: { readonly index: LogIndex; readonly term: Term } = base;
    let batch: Entry[] = [];
    const flush = async (): Promise<void> => {
      const from = must(batch[0], 'a first entry').index;
      await store.write({ hardState: undefined, log: { from, entries: batch } });
      batch = [];
    };
    for await (const entry of entries) {
      const index = logIndex(last.index + 1);
      batch.push(makeEntry({ index, term: entry.term, prevTerm: last.term }, entry.data));
      last = { index, term: entry.term };
      if (batch.length === BATCH) await flush();
    }
    if (batch.length > 0) await flush();
  } finally {
    await store.close();
  }
}
export interface OfflineLog {
  /** The latest term that this member knew. */
  readonly term: Term;
  readonly lastIndex: LogIndex;
  /** What was compacted away ends here. */
  readonly baseIndex: LogIndex;
  /** Entries from `first` on, to the end. */
  entries(first: LogIndex): AsyncGenerator<OfflineEntry, void, undefined>;
  close(): Promise<void>;
}

/** Opens the log of a member that does not run. @throws TidemarkError as `startRaftNode`. */
export async function readRaftFolder(place: Place): Promise<OfflineLog> {
  const store: LogStore = await openLog(place, true);
  const { lastIndex } = store;
  return {
    term: store.hardState.term,
    lastIndex,
    baseIndex: store.base.index,
    async *entries(first) {
      for (let at: LogIndex = first; at <= lastIndex;) {
        const read = await store.read(at, { entries: BATCH, bytes: 4 * 1024 * 1024 });
        must(read[0], `entry ${at}`);
        for (const { term, data } of read) yield { term, data };
        at = logIndex(at + read.length);
      }
    },
    close: () => store.close(),
  };
}
