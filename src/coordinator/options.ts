/** What a coordinator is started with, and what it advertises from that. */
import {
  TidemarkError,
  formatAddress,
  isWildcardHost,
  parseAddress,
  type Address,
  type Clock,
} from '../base/index.ts';
import type { Logger } from '../ops/index.ts';
import type { SchedulerConfig } from '../scheduler/index.ts';
import type { Credentials } from '../wire/index.ts';

/**
 * Where to listen, and under which address others reach it (by default the same). `host:port`, `[v6]:port`.
 */
export interface ListenOptions {
  readonly listen: string;
  readonly advertise?: string | undefined;
}

export interface CoordinatorOptions {
  /** Of this member alone, and on a local disk. */
  readonly dataFolder: string;
  /** For the other coordinators. */
  readonly peer: ListenOptions;
  /** For clients and executors. */
  readonly client: ListenOptions;
  /** Health and metrics. Undefined: none. */
  readonly http?: ListenOptions | undefined;
  readonly credentials: Credentials;
  readonly log: Logger;
  /** Shown by `cluster status`. */
  readonly version: string;
  /** @default the system's clock */
  readonly clock?: Clock;
  readonly scheduler?: Partial<SchedulerConfig>;
  /** Called once when the coordinator cannot go on; the process must end with the error's exit code. */
  readonly onFatal: (error: unknown) => void;
}

/**
 * Decides what to advertise once the port is bound.
 * @throws TidemarkError `CONFIG_INVALID` when only a wildcard address is known.
 */
export function advertised(options: ListenOptions, bound: Address, what: string): string {
  if (options.advertise !== undefined) {
    const address = parseAddress(options.advertise, `${what} advertise address`);
    return formatAddress({ host: address.host, port: address.port === 0 ? bound.port : address.port });
  }
  if (isWildcardHost(bound.host)) {
    throw new TidemarkError(
      'CONFIG_INVALID',
      `the ${what} address listens on every interface; others cannot dial that`,
      {
        next: `Say under which address this coordinator is reached: --${what}-advertise HOST:PORT`,
      },
    );
  }
  return formatAddress(bound);
}
