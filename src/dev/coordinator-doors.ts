/**
 * Asks each coordinator by itself, without the client's redirects and retries: who leads now, and from which
 * moment on a change is committed again after a leader was killed.
 */
import { Metadata } from '@grpc/grpc-js';
import { must, sleep, systemClock, TidemarkError } from '../base/index.ts';
import {
  CHANNEL_OPTIONS,
  ClientClient,
  fromServiceError,
  insecureCredentials,
  type StatusReply,
} from '../wire/index.ts';

export interface CoordinatorDoors {
  /** The status of each coordinator, in order; undefined where none came in time. */
  statuses(): Promise<readonly (StatusReply | undefined)[]>;
  /** The place of the coordinator that leads in the highest term, or undefined. */
  leader(): Promise<{ readonly index: number; readonly term: bigint } | undefined>;
  /**
   * Resolves with the milliseconds from `sinceMs` (monotonic) until a change was committed.
   * @throws TidemarkError `NO_LEADER` after `withinMs`.
   */
  untilCommitted(sinceMs: number, withinMs: number): Promise<number>;
  close(): void;
}

const STATUS_DEADLINE_MS = 400;
const CHANGE_DEADLINE_MS = 1_000;
const PAUSE_MS = 5;

export function openDoors(addresses: readonly string[]): CoordinatorDoors {
  const { channel } = insecureCredentials().client;
  const clients = addresses.map((address) => new ClientClient(address, channel, CHANNEL_OPTIONS));
  const statuses = (): Promise<readonly (StatusReply | undefined)[]> => Promise.all(clients.map(statusOf));
  return {
    statuses,
    async leader() {
      const found = (await statuses())
        .map((status, index) => ({ index, status }))
        .filter(({ status }) => status?.role === 'leader')
        .sort((left, right) => Number((right.status?.term ?? 0n) - (left.status?.term ?? 0n)))[0];
      return found?.status === undefined ? undefined : { index: found.index, term: found.status.term };
    },
    async untilCommitted(sinceMs, withinMs) {
      const over = (): boolean => systemClock.monotonicMs() - sinceMs >= withinMs;
      let committedMs: number | undefined;
      // Each door by itself: a call that hangs at one must not hide that another one commits.
      const knock = async (client: ClientClient): Promise<void> => {
        while (committedMs === undefined && !over()) {
          if (await commitsChange(client)) committedMs ??= systemClock.monotonicMs() - sinceMs;
          await sleep(systemClock, PAUSE_MS);
        }
        if (committedMs === undefined) {
          throw new TidemarkError('NO_LEADER', `no change was committed within ${withinMs} ms`, {
            next: 'Read the logs of the coordinators.',
          });
        }
      };
      await Promise.any(clients.map(knock)).catch((error: unknown) => {
        throw error instanceof AggregateError ? error.errors[0] : error;
      });
      return must(committedMs, 'the moment of the first change');
    },
    close() {
      for (const client of clients) client.close();
    },
  };
}

/** A coordinator that is down or stopped has no status: that is an answer too. */
function statusOf(client: ClientClient): Promise<StatusReply | undefined> {
  return new Promise((resolve) => {
    client.status({}, new Metadata(), { deadline: Date.now() + STATUS_DEADLINE_MS }, (error, status) => {
      resolve(error === null ? status : undefined);
    });
  });
}

/**
 * Opening a session is a change like any other, and harmless. Refusals and dead connections mean: not yet.
 */
function commitsChange(client: ClientClient): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + CHANGE_DEADLINE_MS;
    client.openSession({ name: 'dev probe' }, new Metadata(), { deadline }, (error) => {
      if (error === null) resolve(true);
      else if (fromServiceError(error).retry === 'never') reject(fromServiceError(error));
      else resolve(false);
    });
  });
}
