/** Reads the bytes of a snapshot file in pieces of any size, and checks each record and the whole. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { LIMITS, TidemarkError, decode, isTidemarkError, mutated } from '../base/index.ts';
import {
  FILE_FORMAT,
  FILE_NAME,
  HEADER_FORMAT,
  KIND,
  PROLOGUE_BYTES,
  RECORD_HEAD_BYTES,
  RECORD_SUM_BYTES,
  type SnapshotHeader,
} from './snapshot-format.ts';

export class SnapshotParser {
  readonly #what: string;
  readonly #hash = createHash('sha256');
  #rest: Buffer = Buffer.alloc(0);
  #state: 'prologue' | 'header' | 'chunks' | 'ended' = 'prologue';
  #header: SnapshotHeader | undefined;
  #sha256 = '';

  /** @param what names the file in errors */
  constructor(what: string) {
    this.#what = what;
  }

  /** Known once {@link push} has met it. */
  get header(): SnapshotHeader | undefined {
    return this.#header;
  }

  /**
   * Takes the next bytes; returns the chunks of the state that are complete with them.
   * @throws TidemarkError `SNAPSHOT_INVALID`, `FORMAT_UNKNOWN`.
   */
  push(piece: Uint8Array): readonly Uint8Array[] {
    this.#rest = this.#rest.length === 0 ? Buffer.from(piece) : Buffer.concat([this.#rest, piece]);
    const chunks: Uint8Array[] = [];
    if (this.#state === 'prologue' && !this.#takePrologue()) return chunks;
    for (let record = this.#takeRecord(); record !== undefined; record = this.#takeRecord()) {
      if (record.kind === KIND.chunk) chunks.push(record.content);
    }
    return chunks;
  }

  /**
   * Says that no more bytes come, and returns what the file says about itself, and its checksum.
   * @throws TidemarkError `SNAPSHOT_INVALID` if the file is not complete.
   */
  finish(): { readonly header: SnapshotHeader; readonly sha256: string } {
    if (this.#header !== undefined && this.#state === 'ended' && this.#rest.length === 0)
      return { header: this.#header, sha256: this.#sha256 };
    throw this.#invalid(this.#state === 'ended' ? 'something follows its end' : 'it is cut off');
  }

  #takePrologue(): boolean {
    const name = this.#rest.subarray(0, FILE_NAME.length);
    if (!name.equals(FILE_NAME.subarray(0, name.length))) {
      throw this.#invalid('it does not begin as one', 'Name a file that `tidemark snapshot save` made.');
    }
    if (this.#rest.length < PROLOGUE_BYTES) return false;
    const format = this.#rest.readUInt32BE(FILE_NAME.length);
    if (format !== FILE_FORMAT) {
      const text = `${this.#what} has format ${format}; this program reads format ${FILE_FORMAT}`;
      throw new TidemarkError('FORMAT_UNKNOWN', text, { next: 'Use the version of Tidemark that made it.' });
    }
    this.#hash.update(this.#rest.subarray(0, PROLOGUE_BYTES));
    this.#rest = this.#rest.subarray(PROLOGUE_BYTES);
    this.#state = 'header';
    return true;
  }

  #takeRecord(): { readonly kind: number; readonly content: Uint8Array } | undefined {
    if (this.#rest.length < RECORD_HEAD_BYTES) return undefined;
    const kind = this.#rest[0] ?? 0;
    const length = this.#rest.readUInt32BE(1);
    if (length > LIMITS.snapshotRecordBytesMax) throw this.#invalid(`a record claims ${length} bytes`);
    const end = RECORD_HEAD_BYTES + length;
    if (this.#rest.length < end + RECORD_SUM_BYTES) return undefined;
    const fits = crc32(this.#rest.subarray(0, end)) === this.#rest.readUInt32BE(end);
    if (!fits && !mutated('backup.checksumIgnored')) throw this.#invalid('a checksum does not fit');
    const content = this.#rest.subarray(RECORD_HEAD_BYTES, end);
    this.#meet(kind, content);
    if (kind !== KIND.end) this.#hash.update(this.#rest.subarray(0, end + RECORD_SUM_BYTES));
    this.#rest = this.#rest.subarray(end + RECORD_SUM_BYTES);
    return { kind, content };
  }

  #meet(kind: number, content: Uint8Array): void {
    if (kind === KIND.header && this.#state === 'header') {
      this.#header = this.#readHeader(content);
      this.#state = 'chunks';
    } else if (kind === KIND.end && this.#state === 'chunks') {
      const sum = this.#hash.digest();
      this.#sha256 = sum.toString('hex');
      if (!sum.equals(content) && !mutated('backup.checksumIgnored'))
        throw this.#invalid('its parts do not make a whole');
      this.#state = 'ended';
    } else if (kind !== KIND.chunk || this.#state !== 'chunks') {
      throw this.#invalid(`a record of kind ${kind} is out of place`);
    }
  }

  #readHeader(content: Uint8Array): SnapshotHeader {
    try {
      return checkedHeader(decode(HEADER_FORMAT, content, 'its header'));
    } catch (error) {
      if (!isTidemarkError(error, 'DATA_CORRUPT')) throw error;
      throw this.#invalid(error.message);
    }
  }

  #invalid(why: string, next = 'Use another backup: nothing was made of this one.'): TidemarkError {
    return new TidemarkError('SNAPSHOT_INVALID', `${this.#what} is no whole snapshot: ${why}`, { next });
  }
}

function checkedHeader(value: unknown): SnapshotHeader {
  const wrong = new TidemarkError('DATA_CORRUPT', 'its header is not understood');
  if (typeof value !== 'object' || value === null) throw wrong;
  const { clusterId, index, term, digest, version, savedMs } = value as Partial<SnapshotHeader>;
  if (typeof clusterId !== 'string' || typeof digest !== 'string' || typeof version !== 'string') throw wrong;
  if (!isNatural(index) || !isNatural(term) || !isNatural(savedMs)) throw wrong;
  return { clusterId, index, term, digest, version, savedMs };
}

function isNatural(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
