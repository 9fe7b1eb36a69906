/** Keys and values for programs: `client.kv`. Calls of one turn travel together. */
import { checkKeyValue, keyValuePath } from '../base/index.ts';
import type { Clock, KeyValueWrite, KeyValueWritten } from '../base/index.ts';
import type { KeyValueFound } from '../wire/index.ts';
import type { KeyValueLink } from './key-value-link.ts';

export interface KeyValueOptions {
  /** @default 'default' */
  readonly namespace?: string | undefined;
  /** Milliseconds that the call may take in all. @default the client's */
  readonly deadlineMs?: number | undefined;
}

/** A key that exists. */
export interface KeyValue {
  readonly value: Uint8Array;
  /** The number of the write that made this value; it never repeats. */
  readonly revision: number;
  /** Writes of this key since it was made. */
  readonly version: number;
}

/**
 * Every write takes effect once, however often it had to be sent. Writes that are not awaited may take effect
 * in any order. Reads see every write that was answered before they began.
 *
 * All throw TidemarkError: `BAD_REQUEST` for a bad key or value; `NO_LEADER` when nobody answered in time and
 * nothing was changed; `OUTCOME_UNKNOWN` when a write may have taken effect; `OVERLOADED`; `STATE_FULL`.
 */
export interface KeyValueClient {
  get(key: string, options?: KeyValueOptions): Promise<KeyValue | undefined>;
  put(
    key: string,
    value: Uint8Array | string,
    options?: KeyValueOptions,
  ): Promise<{ readonly revision: number }>;
  /**
   * Writes only if the key stands at revision `expected` (0: does not exist). Else `applied` is false and
   * `revision` tells where it stands.
   */
  cas(
    key: string,
    change: { readonly expected: number; readonly value: Uint8Array | string },
    options?: KeyValueOptions,
  ): Promise<{ readonly applied: boolean; readonly revision: number }>;
  delete(key: string, options?: KeyValueOptions): Promise<{ readonly existed: boolean }>;
}

export interface KeyValueSettings {
  readonly link: KeyValueLink;
  readonly clock: Clock;
  readonly deadlineMs: number;
}

export function createKeyValueClient(settings: KeyValueSettings): KeyValueClient {
  return new LinkedKeyValues(settings);
}

class LinkedKeyValues implements KeyValueClient {
  readonly #settings: KeyValueSettings;

  constructor(settings: KeyValueSettings) {
    this.#settings = settings;
  }

  async get(key: string, options: KeyValueOptions = {}): Promise<KeyValue | undefined> {
    const path = keyValuePath(options.namespace ?? 'default', key);
    const found = await new Promise<KeyValueFound>((resolve, reject) => {
      this.#settings.link.read({ item: path, endsAt: this.#endsAt(options), resolve, reject });
    });
    return found.revision === 0 ? undefined : found;
  }

  async put(
    key: string,
    value: Uint8Array | string,
    options: KeyValueOptions = {},
  ): Promise<{ readonly revision: number }> {
    const { revision } = await this.#write(key, { value: bytesOf(value), expected: undefined }, options);
    return { revision };
  }

  async cas(
    key: string,
    change: { readonly expected: number; readonly value: Uint8Array | string },
    options: KeyValueOptions = {},
  ): Promise<{ readonly applied: boolean; readonly revision: number }> {
    const write = { value: bytesOf(change.value), expected: change.expected };
    const { applied, revision } = await this.#write(key, write, options);
    return { applied, revision };
  }

  async delete(key: string, options: KeyValueOptions = {}): Promise<{ readonly existed: boolean }> {
    const { previous } = await this.#write(key, { value: undefined, expected: undefined }, options);
    return { existed: previous !== 0 };
  }

  #write(
    key: string,
    write: Omit<KeyValueWrite, 'path'>,
    options: KeyValueOptions,
  ): Promise<KeyValueWritten> {
    const path = keyValuePath(options.namespace ?? 'default', key);
    if (write.value !== undefined) checkKeyValue(write.value);
    return new Promise((resolve, reject) => {
      const item = { ...write, path };
      this.#settings.link.write({ item, endsAt: this.#endsAt(options), resolve, reject });
    });
  }

  #endsAt({ deadlineMs }: KeyValueOptions): number {
    return this.#settings.clock.monotonicMs() + (deadlineMs ?? this.#settings.deadlineMs);
  }
}

function bytesOf(value: Uint8Array | string): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value) : value;
}
