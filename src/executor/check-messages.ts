/**
 * Checks what a leader says before it is believed: numbers that fit, tokens that can be tokens, windows that
 * are the ones named. A message that fails here ends the stream with a code and changes nothing.
 */
import { TidemarkError, TOKEN_MAX } from '../base/index.ts';
import {
  TaskKind,
  type AdvanceStates,
  type DropHistory,
  type FoldReport,
  type Prepare,
  type SealedWindow,
  type StartCollector,
  type Task,
} from '../wire/index.ts';

/** @throws TidemarkError `BAD_REQUEST`. */
export function checkTask(task: Task): void {
  const what = `task ${task.task}`;
  checkToken(task.token, what);
  checkToken(task.sinkEpoch, what);
  checkToken(task.prepared, what);
  checkIds(
    what,
    task.reportId,
    task.generation,
    task.sourceId,
    task.sinkId,
    task.firstWindow,
    task.lastWindow,
  );
  if (task.kind !== TaskKind.TASK_KIND_MERGE && task.kind !== TaskKind.TASK_KIND_RETRACT) {
    throw refused(what, `is of kind ${task.kind}`);
  }
  if (task.part >= task.parts) throw refused(what, `is part ${task.part} of ${task.parts}`);
  const { firstWindow, lastWindow, windows } = task;
  // A first contribution is computed from the row states as of its last window: that one comes alone.
  const isFirst = firstWindow === 1n && windows.length === 1 && windows[0]?.window === lastWindow;
  const isWhole = BigInt(windows.length) === lastWindow - firstWindow + 1n && isRun(windows, firstWindow);
  if (!isWhole && !isFirst) {
    throw refused(what, `lists other windows than ${firstWindow} to ${lastWindow}`);
  }
}

/** @throws TidemarkError `BAD_REQUEST`. */
export function checkStates(order: AdvanceStates): void {
  const what = `row states of source ${order.sourceId}`;
  checkToken(order.token, what);
  const first = order.windows[0]?.window ?? 0n;
  checkIds(what, order.sourceId, first);
  if (!isRun(order.windows, first)) throw refused(what, 'lists windows that do not follow one another');
}

/** @throws TidemarkError `BAD_REQUEST`. */
export function checkFold(order: FoldReport): void {
  const what = `fold of report ${order.reportId}`;
  checkToken(order.token, what);
  checkToken(order.sinkEpoch, what);
  checkIds(what, order.reportId, order.generation, order.sourceId, order.sinkId);
  for (const { window, seal } of order.ends) {
    checkIds(what, window);
    checkToken(seal, what);
  }
}

/** @throws TidemarkError `BAD_REQUEST`. */
export function checkDrop(order: DropHistory): void {
  const what = `dropping history of source ${order.sourceId}`;
  checkToken(order.token, what);
  checkIds(what, order.sourceId, order.window);
}

function isRun(windows: readonly SealedWindow[], firstWindow: bigint): boolean {
  return windows.every((window, at) => window.window === firstWindow + BigInt(at));
}

/** @throws TidemarkError `BAD_REQUEST`. */
export function checkPrepare(prepare: Prepare): void {
  const what = `prepare of source ${prepare.sourceId}`;
  checkToken(prepare.token, what);
  checkToken(prepare.sinkEpoch, what);
  checkIds(what, prepare.sourceId, prepare.sinkId);
  for (const { prepared } of prepare.copies) checkToken(prepared, what);
  for (const token of prepare.pending) checkToken(token, what);
  if (!/^[0-9a-f]{32}$/.test(prepare.clusterId)) throw refused(what, 'names no cluster');
}

/** @throws TidemarkError `BAD_REQUEST`. */
export function checkCollector(order: StartCollector): void {
  const what = `collector of source ${order.sourceId}`;
  checkToken(order.epoch, what);
  checkIds(what, order.sourceId);
  if (order.lastWindow > BigInt(Number.MAX_SAFE_INTEGER)) throw refused(what, 'has an impossible window');
  for (const { window } of order.lost) {
    if (window < 1n || window > order.lastWindow) throw refused(what, `has lost window ${window} unsealed`);
  }
}

function checkToken(token: bigint, what: string): void {
  if (token <= 0n || token > TOKEN_MAX) throw refused(what, `has ${token} for a token`);
}

/** Ids and window numbers begin at 1. */
function checkIds(what: string, ...ids: readonly bigint[]): void {
  for (const id of ids) {
    if (id <= 0n || id > BigInt(Number.MAX_SAFE_INTEGER)) throw refused(what, `has ${id} for a number`);
  }
}

function refused(what: string, why: string): TidemarkError {
  return new TidemarkError('BAD_REQUEST', `${what} ${why}`);
}
