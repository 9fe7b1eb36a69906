/**
 * The log on a key-value store: entries and hard state in one atomic, synced batch. What is there when it is
 * opened is read whole and checked (checksums, contiguity, end); a log with a hole does not open.
 */
import {
  LIMITS,
  TidemarkError,
  isTidemarkError,
  logIndex,
  mutated,
  term as makeTerm,
  type LogIndex,
  type Term,
} from '../../base/index.ts';
import {
  Configurations,
  EMPTY_BASE,
  LogView,
  TermRuns,
  type HardState,
  type LogBase,
  type LogStart,
  type Persist,
  type SliceLimit,
} from '../core/index.ts';
import { parseEntry, type Entry } from '../entry.ts';
import type { Configuration } from '../types.ts';
import { EntrySizes } from './entry-sizes.ts';
import type { KeyValueStore } from './key-value.ts';
import { DAMAGED_NEXT } from './level-key-value.ts';
import {
  ENTRIES,
  EVERYTHING,
  HARD_STATE_KEY,
  IDENTITY_KEY,
  START_KEY,
  decodeHardState,
  decodeIdentity,
  decodeStart,
  encodeHardState,
  encodeIdentity,
  encodeStart,
  entryKey,
  type LogIdentity,
  type StoredHardState,
  type StoredStart,
} from './log-records.ts';
import type { Witness } from './witness.ts';

/**
 * One atomic change: from `log.from` on, the log becomes exactly `log.entries`; with a base, nothing before
 * them stays. `compactTo` forgets the entries up to its index. `incoming` is remembered until the log begins
 * anew.
 */
export interface LogWrite extends Pick<Persist, 'hardState' | 'log'> {
  readonly compactTo?: LogStart | undefined;
  readonly incoming?: LogStart | undefined;
}

export interface LogStoreOptions extends LogIdentity {
  /** For messages. */
  readonly folder: string;
  /** Whether an empty store is refused. */
  readonly mustExist: boolean;
  /** False only where losing writes is the point. */
  readonly sync: boolean;
}

export interface LogStore {
  readonly hardState: HardState;
  readonly lastIndex: LogIndex;
  /** What was compacted away ends here. */
  readonly base: LogBase;
  /** Where a snapshot that was about to be installed would have this log begin. */
  readonly incoming: LogStart | undefined;
  /** Bytes of all entries. */
  readonly bytes: number;
  /** The term of an entry, until the view is taken over. */
  termAt(index: LogIndex): Term | undefined;
  /** The members as of the last entry, until the view is taken over; `initial` before the first. */
  latestConfiguration(initial: Configuration): Configuration;
  /**
   * Takes over what was read when the store was opened. To be called once. `initial` is the configuration
   * before the first entry.
   */
  takeView(initial: Configuration): LogView;
  /** Durable when it resolves. One at a time. A rejection ends the process. */
  write(write: LogWrite): Promise<void>;
  /** Reads entries from `first` on, at least one if there is one; none if `first` was compacted away. */
  read(first: LogIndex, limit: SliceLimit): Promise<readonly Entry[]>;
  close(): Promise<void>;
}

/**
 * Opens a log, or makes an empty one.
 * @throws TidemarkError `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER`. The store is closed then.
 */
export async function openLogStore(
  kv: KeyValueStore,
  witness: Witness,
  options: LogStoreOptions,
): Promise<LogStore> {
  const parts = { kv, witness, options };
  try {
    const identity = await kv.get(IDENTITY_KEY);
    if (identity === undefined) return await createLog(parts);
    checkIdentity(decodeIdentity(identity), options);
    return await loadLog(parts);
  } catch (error) {
    await witness.close();
    await kv.close();
    throw explained(error, options.folder);
  }
}

interface Parts {
  readonly kv: KeyValueStore;
  readonly witness: Witness;
  readonly options: LogStoreOptions;
}

async function createLog(parts: Parts): Promise<LogStore> {
  const { kv, witness, options } = parts;
  const found: Uint8Array[] = [];
  await kv.scan(EVERYTHING, (key) => {
    found.push(key);
    return false;
  });
  if (found.length > 0) throw new TidemarkError('DATA_CORRUPT', 'there is a log, but not whose it is');
  if (options.mustExist || (await witness.read()) > 0)
    throw new TidemarkError('DATA_CORRUPT', 'the log is gone: what this member voted is not known');
  const puts = [
    [IDENTITY_KEY, encodeIdentity(options)],
    [HARD_STATE_KEY, encodeHardState(FIRST)],
  ] as const;
  await kv.write({ puts, deletes: [] }, { sync: options.sync });
  await witness.advance(FIRST.writes);
  return emptyLog(parts);
}

const FIRST: StoredHardState = {
  term: makeTerm(0),
  vote: undefined,
  lastIndex: logIndex(0),
  lastTerm: makeTerm(0),
  base: EMPTY_BASE,
  writes: 1,
};

function emptyLog(parts: Parts): LogStore {
  const loaded = { runs: new TermRuns(), later: [], tail: [] };
  return new RecordLogStore({
    ...parts,
    hardState: FIRST,
    start: EMPTY_START,
    sizes: new EntrySizes(),
    loaded,
  });
}

async function loadLog(parts: Parts): Promise<LogStore> {
  const { kv, witness } = parts;
  const stored = await kv.get(HARD_STATE_KEY);
  if (stored === undefined && mutated('raft.missingHardStateIsFresh')) return emptyLog(parts);
  if (stored === undefined) throw new TidemarkError('DATA_CORRUPT', 'the hard state is missing');
  const hardState = decodeHardState(stored);
  const seen = await witness.read();
  if (hardState.writes < seen) {
    throw new TidemarkError('DATA_CORRUPT', `the last ${seen - hardState.writes} of ${seen} writes are gone`);
  }
  const start = await loadStart(kv, hardState);
  const runs = new TermRuns(hardState.base);
  const tail = new Tail();
  const later: Configuration[] = [];
  const sizes = new EntrySizes();
  // What was compacted away may still lie before: its tables would be mapped into memory to be skipped.
  const kept = { gte: entryKey(logIndex(hardState.base.index + 1)), lt: ENTRIES.lt };
  await kv.scan(kept, (key, value) => {
    const entry = parseEntry(value);
    if (Buffer.compare(key, entryKey(entry.index)) !== 0) {
      throw new TidemarkError('DATA_CORRUPT', `entry ${entry.index} lies in another's place`);
    }
    if (entry.index !== runs.lastIndex + 1 || entry.prevTerm !== runs.lastTerm) {
      throw new TidemarkError('DATA_CORRUPT', `entry ${runs.lastIndex + 1} is missing`);
    }
    runs.append(entry.index, entry.term);
    tail.push(entry);
    if (entry.configuration !== undefined) later.push(entry.configuration);
    sizes.add(entry.index, entry.record.length);
    return true;
  });
  if (runs.lastIndex !== hardState.lastIndex || runs.lastTerm !== hardState.lastTerm) {
    throw new TidemarkError(
      'DATA_CORRUPT',
      `the log ends at ${runs.lastIndex}, not at ${hardState.lastIndex}`,
    );
  }
  if (runs.lastTerm > hardState.term) throw new TidemarkError('DATA_CORRUPT', 'the log is ahead of its term');
  return new RecordLogStore({
    ...parts,
    hardState,
    start,
    sizes,
    loaded: { runs, later, tail: tail.entries },
  });
}

const EMPTY_START: StoredStart = {
  index: EMPTY_BASE.index,
  configuration: undefined,
  incoming: undefined,
};

async function loadStart(kv: KeyValueStore, { base }: StoredHardState): Promise<StoredStart> {
  const stored = await kv.get(START_KEY);
  const start = stored === undefined ? EMPTY_START : decodeStart(stored);
  if (start.index === base.index) return start;
  const text = `the log begins after ${base.index}, but its members are those of ${start.index}`;
  throw new TidemarkError('DATA_CORRUPT', text);
}

/** The last entries of a scan, within the bound of what is kept in memory. */
class Tail {
  entries: Entry[] = [];
  #bytes = 0;

  push(entry: Entry): void {
    this.entries.push(entry);
    this.#bytes += entry.record.length;
    if (this.#bytes <= LIMITS.raftTailBytesMax) return;
    const kept = this.entries.slice(this.entries.length >>> 1);
    this.entries = kept;
    this.#bytes = kept.reduce((sum, { record }) => sum + record.length, 0);
  }
}

/** The terms of the log, its configurations after the base, and its end. */
interface LoadedLog {
  readonly runs: TermRuns;
  readonly later: readonly Configuration[];
  readonly tail: readonly Entry[];
}

interface OpenLog extends Parts {
  readonly hardState: StoredHardState;
  readonly start: StoredStart;
  readonly sizes: EntrySizes;
  readonly loaded: LoadedLog;
}

class RecordLogStore implements LogStore {
  readonly #kv: KeyValueStore;
  readonly #witness: Witness;
  readonly #options: LogStoreOptions;
  #hardState: StoredHardState;
  #start: StoredStart;
  readonly #sizes: EntrySizes;
  #loaded: LoadedLog | undefined;

  constructor(open: OpenLog) {
    this.#kv = open.kv;
    this.#witness = open.witness;
    this.#options = open.options;
    this.#hardState = open.hardState;
    this.#start = open.start;
    this.#sizes = open.sizes;
    this.#loaded = open.loaded;
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  get lastIndex(): LogIndex {
    return this.#hardState.lastIndex;
  }

  get base(): LogBase {
    return this.#hardState.base;
  }

  get incoming(): LogStart | undefined {
    return this.#start.incoming;
  }

  get bytes(): number {
    return this.#sizes.total;
  }

  termAt(index: LogIndex): Term | undefined {
    return this.#loaded?.runs.termAt(index);
  }

  latestConfiguration(initial: Configuration): Configuration {
    return this.#loaded?.later.at(-1) ?? this.#start.configuration ?? initial;
  }

  takeView(initial: Configuration): LogView {
    const loaded = this.#loaded;
    if (loaded === undefined) throw new TidemarkError('INTERNAL', 'the log was taken over before');
    this.#loaded = undefined;
    const { runs, later, tail } = loaded;
    return new LogView(runs, new Configurations(this.#start.configuration ?? initial, later), tail);
  }

  async write(write: LogWrite): Promise<void> {
    const deletes: Uint8Array[] = [];
    const puts: (readonly [Uint8Array, Uint8Array])[] = [];
    const forget = (from: number, to: number): void => {
      for (let index = from; index <= to; index++) deletes.push(entryKey(logIndex(index)));
    };
    const before = this.#hardState;
    const { term, vote } = write.hardState ?? before;
    const writes = before.writes + 1;
    this.#hardState = { ...before, ...whereItEnds(before, write.log), term, vote, writes };
    if (write.log !== undefined) {
      const { from, entries, base } = write.log;
      if (base !== undefined) this.#loaded &&= { runs: new TermRuns(base), later: [], tail: [] };
      const kept = base === undefined ? from : before.base.index + 1;
      if (kept <= before.lastIndex) this.#sizes.forget(kept, before.lastIndex);
      if (base !== undefined) forget(kept, Math.min(base.index, before.lastIndex));
      forget(this.lastIndex + 1, before.lastIndex);
      for (const entry of entries) {
        puts.push([entryKey(entry.index), entry.record]);
        this.#sizes.add(entry.index, entry.record.length);
      }
    }
    const { compactTo } = write;
    if (compactTo !== undefined && compactTo.index > this.base.index) {
      const first = this.base.index + 1;
      this.#hardState = { ...this.#hardState, base: { index: compactTo.index, term: compactTo.term } };
      this.#sizes.forget(first, compactTo.index);
      forget(first, compactTo.index);
    }
    const start = startAfter(this.#start, write, this.base);
    if (start !== this.#start) puts.push([START_KEY, encodeStart(start)]);
    this.#start = start;
    puts.push([HARD_STATE_KEY, encodeHardState(this.#hardState)]);
    const sync = this.#options.sync && !mutated('raft.logNotSynced');
    await this.#kv.write({ puts, deletes }, { sync });
    await this.#witness.advance(writes);
  }

  async read(first: LogIndex, limit: SliceLimit): Promise<readonly Entry[]> {
    const entries: Entry[] = [];
    if (first <= this.base.index) return entries;
    let bytes = 0;
    let expected: number = first;
    await this.#kv.scan({ gte: entryKey(first), lt: ENTRIES.lt }, (_key, value) => {
      if (entries.length >= limit.entries) return false;
      const entry = parseEntry(value);
      if (entry.index !== expected) throw new TidemarkError('DATA_CORRUPT', `entry ${expected} is missing`);
      expected++;
      bytes += entry.record.length;
      if (bytes > limit.bytes && entries.length > 0) return false;
      entries.push(entry);
      return true;
    });
    return entries;
  }

  async close(): Promise<void> {
    await this.#witness.close();
    await this.#kv.close();
  }
}

/** Where the log ends after a write, and where it begins. */
function whereItEnds(
  before: StoredHardState,
  log: LogWrite['log'],
): Pick<StoredHardState, 'lastIndex' | 'lastTerm' | 'base'> {
  if (log === undefined) return before;
  const end = log.entries.at(-1) ?? log.base;
  if (end === undefined) throw new TidemarkError('INTERNAL', 'a log only ever ends in an entry');
  const base = log.base === undefined ? before.base : { index: log.base.index, term: log.base.term };
  return { lastIndex: end.index, lastTerm: end.term, base };
}

/** The members where the log begins after a write. A log that begins anew waits for no snapshot. */
function startAfter(before: StoredStart, write: LogWrite, base: LogBase): StoredStart {
  const { log, compactTo, incoming = log?.base === undefined ? before.incoming : undefined } = write;
  const moved = [compactTo, log?.base].find((start) => start?.index === base.index);
  const { configuration } = moved ?? before;
  if (base.index === before.index && incoming === before.incoming) return before;
  return { index: base.index, configuration, incoming };
}

function checkIdentity(found: LogIdentity, wanted: LogStoreOptions): void {
  if (found.clusterId === wanted.clusterId && found.memberId === wanted.memberId) return;
  throw new TidemarkError(
    'DATA_OF_OTHER_CLUSTER',
    `the log belongs to member ${found.memberId} of cluster ${found.clusterId}`,
    { next: `Start member ${wanted.memberId} of cluster ${wanted.clusterId} on its own folder.` },
  );
}

/** Names the folder and the next step; codes stay as they are. */
function explained(error: unknown, folder: string): unknown {
  if (!isTidemarkError(error, 'DATA_CORRUPT', 'FORMAT_UNKNOWN', 'DATA_OF_OTHER_CLUSTER')) return error;
  const upgrade = 'Start the version of Tidemark that wrote it, or a later one.';
  return new TidemarkError(error.code, `the log in ${folder}: ${error.message}`, {
    next: error.next ?? (error.code === 'FORMAT_UNKNOWN' ? upgrade : DAMAGED_NEXT),
    cause: error,
  });
}
