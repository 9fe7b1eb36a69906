/**
 * Answers executors that put a report database under its epoch: tasks they ask for, pieces of what they
 * found.
 */
import { parseToken, TidemarkError } from '../../base/index.ts';
import type { StateView } from '../../statemachine/index.ts';
import { readReportDefinition, type KnownTasksRequest, type SinkFound } from '../../wire/index.ts';
import { codedOrThrow } from '../coded-error.ts';
import type { ExecutorLink } from './executor-link.ts';
import type { Proposer } from '../proposer.ts';
import { safeNumber } from '../safe-number.ts';
import { knownTasks } from './sink-work.ts';

/** Keys of one piece of what was found; more are no piece of ours. */
const KEYS_PER_PIECE_MAX = 2_000;

export function answerKnownTasks(view: StateView, link: ExecutorLink, asked: KnownTasksRequest): void {
  const sinkId = safeNumber(asked.sinkId, 'sink id');
  const { tasks, next } = knownTasks(view, sinkId, safeNumber(asked.fromWindow, 'window'));
  link.send({
    $case: 'knownTasks',
    value: { request: asked.request, errorCode: '', errorMessage: '', tasks, nextWindow: BigInt(next) },
  });
}

/** Every piece is answered once it is committed; one of an epoch that is not current is refused. */
export async function answerFound(proposer: Proposer, link: ExecutorLink, found: SinkFound): Promise<void> {
  let problem: { readonly code: string; readonly message: string } = { code: '', message: '' };
  try {
    const [result] = await proposer.propose([readFound(found)]);
    if (result?.ok === false) problem = result;
  } catch (error) {
    problem = codedOrThrow(error);
  }
  const { code: errorCode, message: errorMessage } = problem;
  link.send({ $case: 'sinkReply', value: { request: found.request, errorCode, errorMessage } });
}

function readFound(found: SinkFound): Parameters<Proposer['propose']>[0][number] {
  const folds = found.folds.flatMap(({ definition, window, seal }) => {
    const generation = readReportDefinition(definition);
    if (generation === undefined) return [];
    return [{ ...generation, window: safeNumber(window, 'window'), seal: seal.toString() }];
  });
  const missing = found.missing.flatMap((definition) => readReportDefinition(definition) ?? []);
  if (found.lacking.length + missing.length + folds.length > KEYS_PER_PIECE_MAX) {
    throw new TidemarkError('BAD_REQUEST', `a piece has at most ${KEYS_PER_PIECE_MAX} keys`);
  }
  return {
    type: 'sink.reconcile',
    v: 1,
    sinkId: safeNumber(found.sinkId, 'sink id'),
    epoch: parseToken(found.epoch.toString()).toString(),
    lacking: found.lacking,
    missing,
    folds,
    last: found.last,
  };
}
