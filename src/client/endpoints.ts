/** The coordinators that a client knows: those it was given, the members, and whom it was pointed to. */
import { Client, Metadata, type ClientDuplexStream } from '@grpc/grpc-js';
import { LIMITS, TidemarkError, formatAddress, must, mutated, parseAddress } from '../base/index.ts';
import {
  CHANNEL_OPTIONS,
  ClientService,
  fromServiceError,
  guardDownload,
  type ClientCredentials,
  type StatusReply,
} from '../wire/index.ts';
import { MemberWatch } from './member-watch.ts';

/** A method as the generated service describes it: `ClientService.apply`. */
export interface Method<Request, Reply> {
  readonly path: string;
  readonly requestSerialize: (request: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Reply;
}

const ENDPOINTS_MAX = LIMITS.membersMax * 4;
/** Those given, the members, and some that a hint named. */
const CLIENTS_MAX = 2 * ENDPOINTS_MAX;
const STATUS_WITHIN_MS = 1_000;

export class Endpoints {
  readonly #credentials: ClientCredentials;
  readonly #given: readonly string[];
  readonly #clients = new Map<string, Client>();
  readonly #watch = new MemberWatch({
    ask: () => this.#askStatus(),
    learn: (addresses) => {
      this.#learn(addresses);
    },
  });
  /** The members, as one of them told, that are not among those given. */
  #learned: readonly string[] = [];
  #preferred: string;
  #closed = false;

  /** @throws TidemarkError `CONFIG_INVALID` for an address that is none, or an empty list. */
  constructor(given: readonly string[], credentials: ClientCredentials) {
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

  /** Those given, and then the members that are known besides. */
  get known(): readonly string[] {
    return [...this.#given, ...this.#learned];
  }

  /** True once nothing may be called any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether this side shows a certificate, and asks for one. */
  get secure(): boolean {
    return this.#credentials.kind === 'tls';
  }

  /** Where the next request goes: the last leader known, until it fails. */
  get preferred(): string {
    return this.#preferred;
  }

  /**
   * Follows a hint of a coordinator, or goes on to the next one; a hint that is no address is passed over,
   * and so is `avoided` as long as there is another.
   */
  prefer(hint: string | undefined, failed: string, avoided?: string): void {
    if (hint !== undefined && hint !== failed && isAddress(hint)) this.#preferred = hint;
    else this.#preferred = this.#after(failed, avoided);
  }

  /**
   * Calls a method at one address.
   * @throws TidemarkError as {@link fromServiceError} maps it, also when the client is closed under the call;
   * `CANCELLED` once it is closed.
   */
  call<Request, Reply>(
    address: string,
    method: Method<Request, Reply>,
    request: Request,
    withinMs: number,
  ): Promise<Reply> {
    if (this.#closed) return Promise.reject(new TidemarkError('CANCELLED', 'the client was closed'));
    const client = this.#client(address);
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + withinMs;
      const { path, requestSerialize, responseDeserialize } = method;
      const options = { deadline };
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new Metadata(),
        options,
        (error, reply) => {
          if (error !== null) reject(fromServiceError(error));
          else if (reply === undefined)
            reject(new TidemarkError('INTERNAL', `${path} was answered without a message`));
          else resolve(reply);
        },
      );
    });
  }

  /** Connects to every endpoint that is known, so that the next leader need not be waited for. */
  warm(): void {
    if (this.#closed) return;
    for (const address of this.known) this.#client(address).getChannel().getConnectivityState(true);
  }

  /**
   * Opens a stream to one address. The caller takes it over in the same turn.
   * @throws TidemarkError `CANCELLED` once the client is closed.
   */
  openStream<Request, Reply>(
    address: string,
    method: Method<Request, Reply>,
  ): ClientDuplexStream<Request, Reply> {
    if (this.#closed) throw new TidemarkError('CANCELLED', 'the client was closed');
    const { path, requestSerialize, responseDeserialize } = method;
    return this.#client(address).makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  }

  /** Reads what one address streams. @throws TidemarkError as {@link call}. */
  download<Request, Reply>(
    address: string,
    method: Method<Request, Reply>,
    request: Request,
  ): AsyncGenerator<Reply, void, undefined> {
    if (this.#closed) throw new TidemarkError('CANCELLED', 'the client was closed');
    const { path, requestSerialize, responseDeserialize } = method;
    const client = this.#client(address);
    return guardDownload(
      client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request),
    );
  }

  close(): void {
    this.#closed = true;
    this.#watch.end();
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #after(address: string, avoided: string | undefined): string {
    const { known } = this;
    const position = known.indexOf(address) + 1;
    const inTurn = [...known.slice(position), ...known.slice(0, position)];
    return must(inTurn.find((one) => one !== avoided) ?? inTurn[0], 'next endpoint');
  }

  #client(address: string): Client {
    let client = this.#clients.get(address);
    if (client === undefined) {
      this.#watch.begin();
      this.#forgetOldHints();
      client = new Client(address, this.#credentials.client.channel, CHANNEL_OPTIONS);
      this.#clients.set(address, client);
    }
    return client;
  }

  async #askStatus(): Promise<StatusReply> {
    const address = this.#preferred;
    try {
      return await this.call(address, ClientService.status, {}, STATUS_WITHIN_MS);
    } catch (error) {
      if (this.#preferred === address) this.prefer(undefined, address);
      throw error;
    }
  }

  #learn(addresses: readonly string[]): void {
    if (mutated('client.learnsNobody')) return;
    const others = addresses.filter((address) => isAddress(address) && !this.#given.includes(address));
    this.#learned = [...new Set(others)].slice(0, ENDPOINTS_MAX);
  }

  /** Hints come from outside: their number is bounded, endpoints and members stay. */
  #forgetOldHints(): void {
    const { known } = this;
    for (const [address, client] of this.#clients) {
      if (this.#clients.size < CLIENTS_MAX) return;
      if (known.includes(address)) continue;
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
