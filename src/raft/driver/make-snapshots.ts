/** Puts snapshots together with the rest of the driver: sending, installing, what the log may forget. */
import { mutated } from '../../base/index.ts';
import type { Input, LogStart, RaftCore } from '../core/index.ts';
import type { LogStore } from '../log-store/index.ts';
import { encodeFrame } from '../peer-codec.ts';
import type { Configuration, PreparedState, RaftOptions } from '../types.ts';
import type { Applier } from './applier.ts';
import { Compaction, DEFAULT_COMPACTION, type CompactionPolicy } from './compaction.ts';
import { Snapshots } from './snapshots.ts';
import type { WriteQueue } from './write-queue.ts';

export interface SnapshotHost {
  readonly options: RaftOptions;
  readonly core: RaftCore;
  readonly store: LogStore;
  readonly writes: WriteQueue;
  readonly applier: Applier;
  /** @default the limits of base */
  readonly policy: CompactionPolicy | undefined;
  readonly running: () => boolean;
  readonly take: (input: Input) => void;
  readonly planTurn: () => void;
  readonly onFatal: (error: unknown) => void;
}

/** Returns undefined for a state machine without snapshots: its log is kept whole. */
export function makeSnapshots(host: SnapshotHost): Snapshots | undefined {
  const { options, core, store, writes, applier, onFatal } = host;
  const capability = options.stateMachine.snapshots;
  if (capability === undefined) return undefined;
  const shared = { core, capability, log: options.log, onFatal };
  const compaction = new Compaction({
    ...shared,
    policy: host.policy ?? DEFAULT_COMPACTION,
    appliedIndex: () => applier.appliedIndex,
    logBytes: () => store.bytes,
    compact: (base) => {
      const durable = writes.compact(base);
      host.take({ type: 'compact', index: base.index });
      return durable;
    },
  });
  return new Snapshots({
    ...shared,
    compaction,
    send: (to, message) => {
      const { transport } = options;
      const frame = encodeFrame([message]);
      if (transport.sendBulk === undefined) transport.send(to, frame);
      else transport.sendBulk(to, frame);
    },
    install: (prepared, configuration) => install(host, prepared, configuration),
  });
}

/** The state first, durably; the log follows. A crash between the two is seen at the next start. */
async function install(
  host: SnapshotHost,
  prepared: PreparedState,
  configuration: Configuration,
): Promise<void> {
  const { applier, core, options, running, take, onFatal } = host;
  const at = { index: prepared.index, term: prepared.term, configuration };
  try {
    await applier.pause();
    if (!running()) return;
    if (core.needsState(at.index)) {
      if (!(await announce(host, at))) return;
      await prepared.install();
      options.log.info({ index: at.index }, 'a snapshot was installed');
      take({ type: 'installed', at });
    }
    applier.resume();
  } catch (error) {
    onFatal(error);
  }
}

/**
 * Has the log remember whose members a state has, before the state says that it is installed. Resolves with
 * false if this node stops.
 */
async function announce({ writes, planTurn, running }: SnapshotHost, at: LogStart): Promise<boolean> {
  if (mutated('raft.installUnannounced')) return true;
  const durable = writes.announce(at);
  planTurn();
  await durable;
  return running();
}
