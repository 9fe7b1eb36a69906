/**
 * Windows that a store lost (design 6.4): who reads them is told so by the primary of their shard. They are
 * captured again by a collector under a new epoch.
 */
import { mutated, parseToken } from '../../base/index.ts';
import { idKey, windowKey } from '../../statemachine/index.ts';
import type { Round } from './round.ts';

interface Reader {
  readonly sourceId: number;
  /** Of the grant under which they were read. */
  readonly token: string;
  /** The first one that is missing, and the last one that was to be read. */
  readonly firstWindow: number;
  readonly lastWindow: number;
}

/**
 * Has windows captured again, and answers whether they are lost: not those that were captured again since the
 * reader's grant, which named their former epoch. Rows are lost from the end, so what follows the first one
 * that is missing is taken for lost too; capturing a window again that is there does no harm.
 */
export function planLostWindows(round: Round, reader: Reader): boolean {
  if (mutated('scheduler.lostWindowIsOnlyLate')) return false;
  const { view } = round.input;
  const { sourceId, firstWindow, lastWindow } = reader;
  const source = view.sources.get(idKey(sourceId));
  const first = view.windows.get(windowKey(sourceId, firstWindow));
  if (source === undefined || first === undefined) return false;
  if (parseToken(first.epoch) > parseToken(reader.token)) return false;
  const known = new Set(source.lost.map(({ window }) => window));
  const isNew = (window: number): boolean =>
    !known.has(window) && !round.lostWindows.has(`${sourceId}/${window}`);
  const found: number[] = [];
  for (let window = firstWindow; window <= lastWindow; window += 1) if (isNew(window)) found.push(window);
  const [from] = found;
  if (from === undefined) return true;
  for (const window of found) round.lostWindows.add(`${sourceId}/${window}`);
  const { collector } = source;
  round.decidedSources.add(sourceId);
  round.operations.push({
    cause: 'windows-lost',
    operation: { type: 'window.lost', v: 1, sourceId, firstWindow: from, lastWindow },
    ...(collector === null
      ? {}
      : { replacesCollector: { executorId: collector.executorId, sourceId, epoch: collector.epoch } }),
  });
  return true;
}
