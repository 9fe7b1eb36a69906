import { TidemarkError, logIndex, must, term, type LogIndex, type Term } from '../../../src/base/index.ts';
import type {
  CommittedEntry,
  PreparedState,
  ReplicatedStateMachine,
  SnapshotCapability,
  StateSnapshot,
} from '../../../src/raft/index.ts';

interface Standing {
  readonly index: LogIndex;
  readonly term: Term;
  readonly texts: readonly string[];
  readonly installed: boolean;
}

const EMPTY: Standing = { index: logIndex(0), term: term(0), texts: [], installed: false };
const TEXTS_PER_CHUNK = 4;

/** What of a state survives the loss of power. */
export class StateDisk {
  durable: Standing = EMPTY;
  installs = 0;
  /** Whatever snapshot comes is taken for damaged. */
  refuses = false;

  /** The folder is emptied. */
  lose(): void {
    this.durable = EMPTY;
  }
}

/** Collects the texts that were applied; only what was flushed or installed survives its process. */
export class TextsState implements ReplicatedStateMachine {
  readonly snapshots: SnapshotCapability;
  /** Snapshots that are being read. */
  open = 0;
  readonly #disk: StateDisk;
  #now: Standing;

  constructor(disk: StateDisk) {
    this.#disk = disk;
    this.#now = disk.durable;
    const installed = (): SnapshotCapability['installed'] => (this.#now.installed ? this.#now : undefined);
    this.snapshots = {
      get installed() {
        return installed();
      },
      flush: () => Promise.resolve(this.#flush()),
      read: () => Promise.resolve(this.#read()),
      prepare: (chunks) => this.#prepare(chunks),
    };
  }

  get appliedIndex(): number {
    return this.#now.index;
  }

  get texts(): readonly string[] {
    return this.#now.texts;
  }

  apply(entries: readonly CommittedEntry[]): Promise<readonly Uint8Array[]> {
    for (const { index, term: of, data } of entries) {
      if (index !== this.#now.index + 1) throw new Error(`applied ${index} after ${this.#now.index}`);
      const texts = data.length === 0 ? this.#now.texts : [...this.#now.texts, Buffer.from(data).toString()];
      this.#now = { index, term: of, texts, installed: false };
    }
    return Promise.resolve(entries.map(({ data }) => data));
  }

  #flush(): number {
    this.#disk.durable = this.#now;
    return this.#now.index;
  }

  #read(): StateSnapshot {
    const { index, term: of, texts } = this.#now;
    return { index, term: of, chunks: this.#chunksOf(this.#now, texts) };
  }

  async *#chunksOf(
    { index, term: of }: Standing,
    texts: readonly string[],
  ): AsyncGenerator<Uint8Array, void, undefined> {
    await Promise.resolve();
    this.open++;
    try {
      yield Buffer.from(JSON.stringify([index, of, texts.length]));
      for (let at = 0; at < texts.length; at += TEXTS_PER_CHUNK)
        yield Buffer.from(JSON.stringify(texts.slice(at, at + TEXTS_PER_CHUNK)));
    } finally {
      this.open--;
    }
  }

  async #prepare(chunks: AsyncIterable<Uint8Array>): Promise<PreparedState> {
    const parts: (readonly string[])[] = [];
    for await (const chunk of chunks) parts.push(JSON.parse(Buffer.from(chunk).toString()) as string[]);
    const [index, of, count] = must(parts.shift(), 'a head').map(Number);
    const texts = parts.flat();
    if (texts.length !== count || this.#disk.refuses)
      throw new TidemarkError('DATA_CORRUPT', 'a snapshot is not whole');
    const next: Standing = { index: logIndex(index ?? 0), term: term(of ?? 0), texts, installed: true };
    return {
      ...next,
      install: () => {
        if (next.index <= this.#now.index) throw new Error('a snapshot would take something back');
        this.#now = next;
        this.#disk.durable = next;
        this.#disk.installs++;
        return Promise.resolve();
      },
    };
  }
}
