/** Opens a member's log on disk and starts it. */
import { randomInt } from 'node:crypto';
import { LIMITS, TidemarkError, assert } from '../../base/index.ts';
import {
  openFileWitness,
  openLevelKeyValue,
  openLogStore,
  type KeyValueStore,
  type LogStore,
  type Witness,
} from '../log-store/index.ts';
import { initialConfiguration } from '../configuration.ts';
import type { RaftNode, RaftOptions, ReplicatedStateMachine } from '../types.ts';
import { RaftDriver } from './driver.ts';
import type { DriverTuning } from './tuning.ts';
import { followInstalled } from './follow-installed.ts';

/** A state machine may still be opening: the log is read meanwhile. */
export type StartOptions = Omit<RaftOptions, 'stateMachine'> & {
  readonly stateMachine: ReplicatedStateMachine | Promise<ReplicatedStateMachine>;
};

/**
 * Opens the log in `options.folder` (made if it is not there) and starts to take part in consensus.
 *
 * @throws TidemarkError `DATA_IN_USE`, `DATA_CORRUPT`, `FORMAT_UNKNOWN`, `DATA_OF_OTHER_CLUSTER` or
 * `STORAGE_FAILED`, or why the state machine did not open; nothing was sent to anyone then.
 */
export async function startRaftNode(options: StartOptions): Promise<RaftNode> {
  assert(options.initialMembers.length <= LIMITS.votersMax, 'a cluster begins with 7 voters at most');
  const [log, machine] = await Promise.allSettled([readLog(options), options.stateMachine]);
  if (log.status === 'rejected') throw log.reason;
  if (machine.status === 'rejected') {
    await log.value.close();
    throw machine.reason;
  }
  const ready: RaftOptions = { ...options, stateMachine: machine.value };
  return startOnStore(log.value, ready, {
    seed: randomInt(2 ** 32),
    laterTurn: (run) => void setImmediate(run),
    soon: (run) => {
      process.nextTick(run);
    },
  });
}

async function readLog(options: StartOptions): Promise<LogStore> {
  const { clock, mustExist = false } = options;
  const beganMs = clock.monotonicMs();
  const store = await openLog(options, mustExist);
  const [first, last] = [store.base.index + 1, store.lastIndex];
  options.log.info({ first, last, ms: Math.round(clock.monotonicMs() - beganMs) }, 'the log was read');
  return store;
}

/**
 * Makes the log of a member that has not run yet, so that whoever starts it can write down that it exists
 * before a vote can leave this node. A log that is there already is left as it is.
 *
 * @throws TidemarkError as {@link startRaftNode}.
 */
export async function makeRaftFolder(
  options: Pick<RaftOptions, 'clusterId' | 'memberId' | 'folder'>,
): Promise<void> {
  const store = await openLog(options, false);
  await store.close();
}

/** Opens a member's log store. @throws TidemarkError as {@link startRaftNode}. */
export async function openLog(
  { clusterId, memberId, folder }: Pick<RaftOptions, 'clusterId' | 'memberId' | 'folder'>,
  mustExist: boolean,
): Promise<LogStore> {
  const { kv, witness } = await openFolder(folder);
  return openLogStore(kv, witness, { clusterId, memberId, folder, mustExist, sync: true });
}

async function openFolder(
  folder: string,
): Promise<{ readonly kv: KeyValueStore; readonly witness: Witness }> {
  // The database first: its lock keeps another process away from the witness, too.
  const kv = await openLevelKeyValue(folder);
  try {
    return { kv, witness: await openFileWitness(folder) };
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** What differs where time and chance are not the machine's own. */
export interface Surroundings {
  /** Different for every node and every start. */
  readonly seed: number;
  readonly laterTurn: (run: () => void) => void;
  readonly soon?: (run: () => void) => void;
  readonly tuning?: DriverTuning;
}

/**
 * Starts a member on its open log, after it was compared with the state beside it.
 * @throws TidemarkError `DATA_CORRUPT`, `STORAGE_FAILED`: the store is closed then.
 */
export async function startOnStore(
  store: LogStore,
  options: RaftOptions,
  surroundings: Surroundings,
): Promise<RaftDriver> {
  try {
    await followInstalled(store, options.stateMachine, initialConfiguration(options.initialMembers));
    mustMeet(store, options);
    return new RaftDriver({ options, store, ...surroundings });
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** What was applied ends where the log has an entry, or where it begins; or it is lost as a whole. */
function mustMeet(store: LogStore, options: RaftOptions): void {
  const { folder, stateMachine } = options;
  const { appliedIndex } = stateMachine;
  if (appliedIndex < store.base.index) {
    mayFetchState(store, options);
    return;
  }
  if (appliedIndex <= store.lastIndex) return;
  throw new TidemarkError(
    'DATA_CORRUPT',
    `the log in ${folder} ends at entry ${store.lastIndex}, but entry ${appliedIndex} was applied`,
    { next: 'Log and state belong together: put the whole data folder back, not a part of it.' },
  );
}

/**
 * An empty state is one that was lost, or that its operator has thrown away. Log and vote are all that this
 * member has promised to keep: the others send it the state. One that is only too old is no such thing.
 */
function mayFetchState(
  store: LogStore,
  { folder, log, memberId, initialMembers, stateMachine }: RaftOptions,
): void {
  const { members } = store.latestConfiguration(initialConfiguration(initialMembers));
  const others = members.some(({ id, role }) => role === 'voter' && id !== memberId);
  const { appliedIndex } = stateMachine;
  const begins = store.base.index;
  if (appliedIndex === 0 && others && stateMachine.snapshots !== undefined) {
    log.warn({ begins }, 'the state is empty and the log does not reach back: the leader sends it');
    return;
  }
  const text = `entry ${appliedIndex} was applied, but the log in ${folder} begins after ${begins}`;
  throw new TidemarkError('DATA_CORRUPT', text, {
    next: others
      ? 'If the others are a majority that has caught up: stop this coordinator, empty its state folder, ' +
        'and start it again: they send it the state.'
      : 'No other coordinator has this state: put the whole data folder back, or restore a backup.',
  });
}
