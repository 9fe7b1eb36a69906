import { foldSpans, sweepOf, type FoldInput } from '../../src/executor/sink/fold.ts';
import type { SinkContext } from '../../src/executor/sink/transaction.ts';

/** Folds, and sweeps all that the fold leaves, as an executor does one after the other. */
export async function foldAndSweep(context: SinkContext, input: FoldInput): Promise<number> {
  const mark = await foldSpans(context, input);
  const sweep = sweepOf(context, input);
  let more = true;
  while (more) more = await sweep();
  return mark;
}
