/**
 * Windows that a store lost after their seal (design 6.4): the primary of a shard failed over to a replica
 * that had not got their last rows. The slice of the change log is still the same, so capturing it again
 * gives the same rows under a new epoch; what was merged from the old ones stays right.
 */
import { LIMITS, mutated } from '../../base/index.ts';
import { idKey, taskRowKey, windowKey } from './keys.ts';
import type { ApplyMeta, LoseWindows, OperationResult, ResealWindow } from './operations.ts';
import type { LostWindow, SourceRecord, TaskRecord, WindowRecord } from './records.ts';
import { accept, refuse, type Refusal } from './result.ts';
import type { StateWriter } from './writer.ts';

/**
 * Notes windows as lost and takes the collector's grant back: the next one carries them. What is noted
 * already is not noted twice, so that a window without hope does not stop the collector again and again. The
 * answer says how many were noted, and whether the grant was taken back.
 */
export function applyLoseWindows(writer: StateWriter, input: LoseWindows): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  const known = new Set(source.lost.map(({ window }) => window));
  const added: LostWindow[] = [];
  for (let window = input.firstWindow; window <= input.lastWindow; window += 1) {
    if (source.lost.length + added.length === LIMITS.windowsLostMax) break;
    const sealed = writer.windows.get(windowKey(source.id, window));
    if (sealed === undefined || known.has(window)) continue;
    const copying = mutated('state.chunksCapturedAgain') ? sealed.from === '' : sealed.copying;
    added.push({ window, problem: copying ? snapshotLost(window) : '' });
  }
  const first = added[0];
  if (first === undefined) return accept({ lost: 0, stopped: false });
  const problem = added.find((lost) => lost.problem !== '')?.problem ?? source.problem;
  const again = added.some((lost) => lost.problem === '');
  writer.sources.put(idKey(source.id), {
    ...source,
    lost: [...source.lost, ...added],
    problem,
    collector: again ? null : source.collector,
    retryAtMs: again ? 0 : source.retryAtMs,
  });
  return accept({ lost: added.length, stopped: again });
}

/** It has rows of a moment that no log shows again, or lacks images of rows that were not copied yet. */
function snapshotLost(window: number): string {
  return `WINDOW_LOST: window ${window} was sealed during the initial snapshot, which cannot be taken again`;
}

/** Puts the new rows of a window in the place of the lost ones; repeating it answers as at first. */
export function applyResealWindow(
  writer: StateWriter,
  input: ResealWindow,
  meta: ApplyMeta,
): OperationResult {
  const source = writer.sources.get(idKey(input.sourceId));
  if (source === undefined) return refuse('UNKNOWN_SOURCE', `source ${input.sourceId} is not known`);
  const sealed = writer.windows.get(windowKey(source.id, input.window));
  if (sealed === undefined) return refuse('WINDOW_GAP', `window ${input.window} is not sealed or dropped`);
  if (sealed.epoch === input.epoch) return accept({ window: sealed.window });
  if (source.collector?.epoch !== input.epoch && !mutated('state.resealOfDeposedEpoch')) {
    return refuse('STALE_EPOCH', `epoch ${input.epoch} is not the current one of source ${source.name}`);
  }
  if (input.errorCode !== '') {
    giveUp(writer, source, input);
    return accept({ window: sealed.window });
  }
  const refusal = differs(sealed, input);
  if (refusal !== undefined) return refusal;
  const { epoch, day, topologyVersion } = input;
  writer.windows.put(windowKey(source.id, sealed.window), { ...sealed, epoch, day, topologyVersion });
  writer.sources.put(idKey(source.id), { ...source, lost: without(source, sealed.window) });
  wakeReaders(writer, sealed, meta);
  return accept({ window: sealed.window });
}

function without(source: SourceRecord, window: number): LostWindow[] {
  return source.lost.filter((lost) => lost.window !== window);
}

function giveUp(writer: StateWriter, source: SourceRecord, input: ResealWindow): void {
  const problem = `${input.errorCode}: window ${input.window}: ${input.errorMessage}`;
  writer.sources.put(idKey(source.id), {
    ...source,
    lost: [...without(source, input.window), { window: input.window, problem }],
    problem,
  });
}

/** The same slice of a log holds the same rows; another checksum is another slice, or another log. */
function differs(sealed: WindowRecord, input: ResealWindow): Refusal | undefined {
  const what = `window ${sealed.window} captured again`;
  if (input.from !== sealed.from || input.to !== sealed.to) {
    return refuse('WINDOW_LOST', `${what} is '${input.from}' to '${input.to}', not as it was sealed`);
  }
  const same =
    sealed.shards.length === input.shards.length &&
    sealed.shards.every(({ shard, rows, checksum }) =>
      input.shards.some(
        (found) => found.shard === shard && found.rows === rows && found.checksum === checksum,
      ),
    ) &&
    sealed.schemaVersions.every(({ table, version }) =>
      input.schemaVersions.some((found) => found.table === table && found.version === version),
    );
  if (same || mutated('state.resealWithOtherRows')) return undefined;
  return refuse('WINDOW_LOST', `${what} does not hold the rows that were sealed`);
}

/** Tasks that wait because of the window need not wait until they are due. */
function wakeReaders(writer: StateWriter, sealed: WindowRecord, meta: ApplyMeta): void {
  const waiting: TaskRecord[] = [];
  for (const task of writer.openTasks.values()) {
    const reads = task.sourceId === sealed.sourceId && task.firstWindow <= sealed.window;
    if (reads && sealed.window <= task.lastWindow && task.state === 'PARKED') waiting.push(task);
  }
  for (const task of waiting) writer.tasks.put(taskRowKey(task), { ...task, wakeAtMs: meta.logTimeMs });
}
