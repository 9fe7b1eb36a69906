import {
  openLevelDatabase,
  type OpenDatabase,
  type StateBatch,
} from '../../../src/statemachine/state-database.ts';
import type { StateDatabase } from '../../../src/statemachine/index.ts';

export interface WatchedWrite {
  readonly bytes: number;
  readonly sync: boolean;
}

/** LevelDB, with each write told to `beforeWrite`: it goes on when that resolves, and fails as that does. */
export function watchedDatabase(
  beforeWrite: (write: WatchedWrite) => Promise<void>,
  onOpen: (db: StateDatabase) => void = () => undefined,
): OpenDatabase {
  const watch = (batch: StateBatch): StateBatch => {
    let bytes = 0;
    const self: StateBatch = {
      put: (key, value) => {
        bytes += value.length;
        batch.put(key, value);
        return self;
      },
      del: (key) => {
        batch.del(key);
        return self;
      },
      write: async (options) => {
        await beforeWrite({ bytes, sync: options?.sync ?? false });
        await batch.write(options);
      },
    };
    return self;
  };
  return async (path) => {
    const opened = await openLevelDatabase(path);
    const { db } = opened;
    onOpen(db);
    return {
      ...opened,
      db: {
        batch: () => watch(db.batch()),
        keys: (range) => db.keys(range),
        snapshot: () => db.snapshot(),
        iterator: (options) => db.iterator(options),
        compactRange: (start, end) => db.compactRange(start, end),
        close: () => db.close(),
      },
    };
  };
}
