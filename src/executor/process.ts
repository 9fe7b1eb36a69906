/** One executor process: what the command line starts. */
import { formatAddress, LIMITS, parseAddress, TidemarkError } from '../base/index.ts';
import { createRegistry, startOpsServer, type Logger, type OpsServer } from '../ops/index.ts';
import type { ClientCredentials } from '../wire/index.ts';
import { Executor } from './executor.ts';
import { createExecutorMetrics } from './metrics.ts';

export interface ExecutorOptions {
  readonly name: string;
  /** Client addresses of coordinators, `host:port`. One is enough; the others are learned. */
  readonly coordinators: readonly string[];
  /** Tasks that run at once. */
  readonly slots: number;
  /** Embedded database files and secret files are relative to it. */
  readonly baseFolder: string;
  /** Where secret references are looked up. @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly credentials: ClientCredentials;
  /** Where health and metrics are served, `host:port`. Undefined: nowhere. */
  readonly http?: string | undefined;
  readonly log: Logger;
  /** Shown by `executor list`. */
  readonly version: string;
}

export interface RunningExecutor {
  /** The address that health and metrics are really served at. */
  readonly httpAddress: string | undefined;
  /** True while a leader has accepted this executor. */
  readonly connected: boolean;
  stop(): Promise<void>;
}

/**
 * Starts an executor; it looks for the leader on its own, for as long as it runs.
 * @throws TidemarkError `CONFIG_INVALID`, `PORT_IN_USE`.
 */
export async function startExecutor(options: ExecutorOptions): Promise<RunningExecutor> {
  checkOptions(options);
  const registry = createRegistry('executor');
  const metrics = createExecutorMetrics(registry, () => executor);
  const executor = new Executor({
    name: options.name,
    coordinators: options.coordinators,
    channelCredentials: options.credentials.client.channel,
    slots: options.slots,
    version: options.version,
    engines: ['mysql', 'embedded'],
    databases: { env: options.env ?? process.env, baseFolder: options.baseFolder },
    log: options.log,
    onOutcome: metrics.onOutcome,
  });
  let ops: OpsServer | undefined;
  if (options.http !== undefined) {
    ops = await startOpsServer({
      listen: parseAddress(options.http, 'http address'),
      livez: [{ name: 'process', check: () => '' }],
      readyz: [
        { name: 'leader', check: () => (executor.connected ? '' : 'no leader has accepted this executor') },
      ],
      registry,
    });
  }
  executor.start();
  return {
    httpAddress: ops === undefined ? undefined : formatAddress(ops.address),
    get connected() {
      return executor.connected;
    },
    async stop() {
      await executor.stop();
      await ops?.close();
    },
  };
}

function checkOptions(options: ExecutorOptions): void {
  const { name, slots, coordinators } = options;
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name) || name.length > LIMITS.nameLengthMax) {
    throw new TidemarkError('CONFIG_INVALID', `not a name for an executor: ${JSON.stringify(name)}`, {
      next: `Use letters, digits, _, . and -, at most ${LIMITS.nameLengthMax}.`,
    });
  }
  if (!Number.isInteger(slots) || slots < 1 || slots > LIMITS.slotsPerExecutorMax) {
    throw new TidemarkError(
      'CONFIG_INVALID',
      `slots must be 1 to ${LIMITS.slotsPerExecutorMax}, not ${slots}`,
    );
  }
  if (coordinators.length === 0) {
    throw new TidemarkError('CONFIG_INVALID', 'no coordinator is named', {
      next: 'Give at least one client address: --endpoints HOST:PORT',
    });
  }
  for (const address of coordinators) parseAddress(address, 'coordinator address');
}
