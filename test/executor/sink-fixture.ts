/** A report database under an epoch, as an executor puts it there. */
import { dropKnown, stageKnown, type KnownTask } from '../../src/executor/sink/known-tasks.ts';
import { readLacking } from '../../src/executor/sink/lacking.ts';
import { openSink, setEpoch, type FoldMark, type KnownSink } from '../../src/executor/sink/reconcile.ts';
import type { SinkGrant } from '../../src/executor/sink/sink-epoch.ts';
import type { SqlEngine } from '../../src/sql/index.ts';
import { reportDefinition } from '../../src/wire/index.ts';

export async function* piecesOf(tasks: readonly KnownTask[]): AsyncGenerator<readonly KnownTask[], void> {
  for (const task of tasks) yield Promise.resolve([task]);
}

export interface Reconciled {
  readonly folds: readonly FoldMark[];
  /** Keys of finished tasks that are not there. */
  readonly lacking: string[];
  /** Generations whose tables are not there. */
  readonly missing: string[];
}

/** Puts an engine's database under an epoch, as a cluster that knows these tasks does. */
export async function reconcile(
  engine: SqlEngine,
  known: KnownSink,
  tasks: readonly KnownTask[] = [],
): Promise<Reconciled> {
  await openSink(engine, known);
  const staged = await stageKnown(engine, known.epoch, piecesOf(tasks));
  const { missing, folds } = await setEpoch(engine, known, staged);
  const lacking: string[] = [];
  for await (const piece of readLacking(engine, known)) lacking.push(...piece);
  await dropKnown(engine, known.epoch);
  return {
    lacking,
    folds,
    missing: missing.map(({ layout }) => reportDefinition(layout.reportId, layout.generation)),
  };
}

/** The same by a cluster that knows nothing of it. */
export async function prepareSink(engine: SqlEngine, grant: SinkGrant): Promise<void> {
  await reconcile(engine, { ...grant, formerIds: [], generations: [] });
}
