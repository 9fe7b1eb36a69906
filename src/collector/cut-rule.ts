/** When a window ends (design 6.3): by time, rows or bytes, and at a transaction's end only. */
import { mutated } from '../base/index.ts';

export interface CutRule {
  readonly lengthMs: number;
  readonly rowsMax: number;
  readonly bytesMax: number;
  /** How long a window without rows stays open: sealing it moves the watermark of an idle source. */
  readonly idleMs: number;
}

export interface OpenWindowSize {
  readonly rows: number;
  readonly bytes: number;
  readonly openMs: number;
  /** Whether rows of a transaction came whose end has not come yet. */
  readonly insideTransaction: boolean;
}

/** `full`: the window must end before more rows are taken. `due`: it may end now. */
export function cutDecision(rule: CutRule, window: OpenWindowSize): 'full' | 'due' | 'open' {
  if (window.insideTransaction && !mutated('collector.cutInsideTransaction')) return 'open';
  if (window.rows >= rule.rowsMax || window.bytes >= rule.bytesMax) return 'full';
  if (window.rows > 0) return window.openMs >= rule.lengthMs ? 'due' : 'open';
  return window.openMs >= Math.max(rule.idleMs, rule.lengthMs) ? 'due' : 'open';
}
