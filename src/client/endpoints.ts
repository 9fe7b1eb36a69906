/** The coordinators that a client knows: those it was given, and leaders that it was pointed to. */
import { Metadata, type CallOptions, type ServiceError } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, formatAddress, must, parseAddress } from '../base/index.ts';
import { CHANNEL_OPTIONS, ClientClient, fromServiceError, type LinkCredentials } from '../wire/index.ts';

/** The form of every generated unary method with all its arguments. */
export type UnaryMethod<Request, Reply> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, reply: Reply) => void,
) => unknown;

const ENDPOINTS_MAX = LIMITS.membersMax * 4;

export class Endpoints {
  readonly #credentials: LinkCredentials;
  readonly #given: readonly string[];
  readonly #clients = new Map<string, ClientClient>();
  #preferred: string;
  #closed = false;

  /** @throws TidemarkError `CONFIG_INVALID` for an address that is none, or an empty list. */
  constructor(given: readonly string[], credentials: LinkCredentials) {
    if (given.length === 0 || given.length > ENDPOINTS_MAX) {
      throw new TidemarkError(
        'CONFIG_INVALID',
        `1 to ${ENDPOINTS_MAX} endpoints are needed, not ${given.length}`,
        {
          next: 'Name coordinators with --endpoints HOST:PORT,HOST:PORT',
        },
      );
    }
    this.#given = [...new Set(given.map((text) => formatAddress(parseAddress(text, 'endpoint'))))];
    this.#credentials = credentials;
    this.#preferred = must(this.#given[0], 'first endpoint');
  }

  /** Addresses as given. */
  get given(): readonly string[] {
    return this.#given;
  }

  /** Where the next request goes: the last leader known, until it fails. */
  get preferred(): string {
    return this.#preferred;
  }

  /** Follows a hint of a coordinator; a hint that is no address is passed over. */
  prefer(hint: string | undefined, failed: string): void {
    if (hint !== undefined && hint !== failed && isAddress(hint)) this.#preferred = hint;
    else this.#preferred = this.#after(failed);
  }

  /**
   * Calls a method at one address.
   * @throws TidemarkError as {@link fromServiceError} maps it.
   */
  call<Request, Reply>(
    address: string,
    method: (client: ClientClient) => UnaryMethod<Request, Reply>,
    request: Request,
    withinMs: number,
  ): Promise<Reply> {
    if (this.#closed) return Promise.reject(new TidemarkError('CANCELLED', 'the client was closed'));
    const client = this.#client(address);
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + withinMs;
      method(client).call(client, request, new Metadata(), { deadline }, (error, reply) => {
        if (error === null) resolve(reply);
        else reject(fromServiceError(error));
      });
    });
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #after(address: string): string {
    const position = this.#given.indexOf(address);
    return must(this.#given[(position + 1) % this.#given.length], 'next endpoint');
  }

  #client(address: string): ClientClient {
    let client = this.#clients.get(address);
    if (client === undefined) {
      this.#forgetOldHints();
      client = new ClientClient(address, this.#credentials.channel, CHANNEL_OPTIONS);
      this.#clients.set(address, client);
    }
    return client;
  }

  /** Hints come from outside: their number is bounded, the given endpoints stay. */
  #forgetOldHints(): void {
    for (const [address, client] of this.#clients) {
      if (this.#clients.size < ENDPOINTS_MAX) return;
      if (this.#given.includes(address)) continue;
      client.close();
      this.#clients.delete(address);
    }
  }
}

function isAddress(text: string): boolean {
  try {
    parseAddress(text, 'leader hint');
    return true;
  } catch (error) {
    if (error instanceof TidemarkError) return false;
    throw error;
  }
}
