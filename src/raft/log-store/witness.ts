/**
 * A witness to what the log's database must hold: the number of its writes, in a file of its own, written
 * after each of them is durable. LevelDB drops a damaged or cut-off end of its own log without a word; then
 * the database counts fewer writes than its witness, and does not open.
 *
 * The witness is never synced: it may fall behind after a loss of power, and then vouches for less, but it is
 * never ahead of what was durable. So a process that was killed, and any single file that was cut off, rolled
 * back or damaged while the machine stayed up, is noticed.
 *
 * The file: format (1 byte), CRC-32 of the count (4), count (6). What does not read so counts as 0.
 */
import { constants, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { TidemarkError } from '../../base/index.ts';

const WITNESS_FORMAT = 1;
const WITNESS_BYTES = 11;
/** LevelDB leaves files alone whose names are not its own. */
export const WITNESS_FILE = 'tidemark-writes';

export interface Witness {
  /** Returns how many writes were durable at least; 0 if it does not know. */
  read(): Promise<number>;
  advance(writes: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the witness of the database in `folder`, or makes it.
 * @throws TidemarkError `STORAGE_FAILED`.
 */
export async function openFileWitness(folder: string): Promise<Witness> {
  const path = join(folder, WITNESS_FILE);
  try {
    return new FileWitness(await open(path, constants.O_RDWR | constants.O_CREAT), path);
  } catch (cause) {
    throw failed(path, cause);
  }
}

class FileWitness implements Witness {
  readonly #file: FileHandle;
  readonly #path: string;

  constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  async read(): Promise<number> {
    const bytes = Buffer.alloc(WITNESS_BYTES);
    try {
      const { bytesRead } = await this.#file.read(bytes, 0, WITNESS_BYTES, 0);
      if (bytesRead < WITNESS_BYTES || bytes[0] !== WITNESS_FORMAT) return 0;
    } catch (cause) {
      throw failed(this.#path, cause);
    }
    return crc32(bytes.subarray(5)) === bytes.readUInt32BE(1) ? bytes.readUIntBE(5, 6) : 0;
  }

  advance(writes: number): Promise<void> {
    const bytes = Buffer.alloc(WITNESS_BYTES);
    bytes[0] = WITNESS_FORMAT;
    bytes.writeUIntBE(writes, 5, 6);
    bytes.writeUInt32BE(crc32(bytes.subarray(5)), 1);
    try {
      // Every acknowledgement waits for this. Into the page cache it takes microseconds; by way of the thread
      // pool it took a tenth of a lone write.
      writeSync(this.#file.fd, bytes, 0, WITNESS_BYTES, 0);
    } catch (cause) {
      return Promise.reject(failed(this.#path, cause));
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function failed(path: string, cause: unknown): TidemarkError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new TidemarkError('STORAGE_FAILED', `${path} cannot be read or written: ${text}`, {
    next: 'Look at the folder (rights, space, disk errors), then start again.',
    cause,
  });
}
