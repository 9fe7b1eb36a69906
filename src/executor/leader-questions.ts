/** Questions of an executor to its leader, each answered once: what the leader knows of a report database. */
import { isErrorCode, must, TidemarkError, type Cancel, type Clock } from '../base/index.ts';
import {
  KnownTaskState,
  type KnownTask as KnownTaskMessage,
  type KnownTasks,
  type SinkReply,
} from '../wire/index.ts';
import type { Outgoing } from './session/outbox.ts';
import { KNOWN_STATE, type KnownTask } from './sink/known-tasks.ts';

/** A leader that does not answer a question is no leader any more; the next one begins anew. */
const ANSWER_MS = 10_000;

type Answer = KnownTasks | SinkReply;

/** Tasks that a leader knows, with first windows from `from` up to, and without, `to`. */
export interface TasksPiece {
  readonly from: number;
  /** Undefined: there are no more. */
  readonly to: number | undefined;
  readonly tasks: readonly KnownTask[];
}

export class LeaderQuestions {
  readonly #clock: Clock;
  readonly #send: (body: Outgoing) => void;
  readonly #waiting = new Map<bigint, { settle: (answer: Answer | undefined) => void; timer: Cancel }>();
  #lastRequest = 0n;

  constructor(clock: Clock, send: (body: Outgoing) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  onAnswer(answer: Answer): void {
    this.#waiting.get(answer.request)?.settle(answer);
  }

  /** The leader has changed: what was asked is not answered any more. */
  onWelcome(): void {
    for (const { settle } of [...this.#waiting.values()]) settle(undefined);
  }

  /** @throws TidemarkError what the leader answers; `NO_LEADER` if it does not. */
  async ask(question: (request: bigint) => Outgoing): Promise<Answer> {
    this.#lastRequest += 1n;
    const request = this.#lastRequest;
    const answer = await new Promise<Answer | undefined>((resolve) => {
      const settle = (given: Answer | undefined): void => {
        must(this.#waiting.get(request), 'a question that waits').timer();
        this.#waiting.delete(request);
        resolve(given);
      };
      const timer = this.#clock.after(ANSWER_MS, () => {
        settle(undefined);
      });
      this.#waiting.set(request, { settle, timer });
      this.#send(question(request));
    });
    if (answer === undefined) throw new TidemarkError('NO_LEADER', 'the leader does not answer any more');
    if (answer.errorCode === '') return answer;
    const code = isErrorCode(answer.errorCode) ? answer.errorCode : 'INTERNAL';
    throw new TidemarkError(code, answer.errorMessage);
  }

  /** All tasks of a report database that the leader knows, piece by piece. @throws as {@link ask}. */
  async *tasksOf(sinkId: bigint): AsyncGenerator<readonly KnownTask[], void> {
    for await (const { tasks } of this.piecesOf(sinkId)) yield tasks;
  }

  /** The same with the range of each piece, in the order of windows. @throws as {@link ask}. */
  async *piecesOf(sinkId: bigint): AsyncGenerator<TasksPiece, void> {
    let fromWindow = 0n;
    for (;;) {
      const answer = await this.ask((request) => ({
        $case: 'knownTasks',
        value: { request, sinkId, fromWindow },
      }));
      if (!('tasks' in answer)) throw new TidemarkError('BAD_REQUEST', 'an answer to another question');
      const isLast = answer.nextWindow <= fromWindow;
      yield {
        from: Number(fromWindow),
        to: isLast ? undefined : Number(answer.nextWindow),
        tasks: answer.tasks.map(readTask),
      };
      if (isLast) return;
      fromWindow = answer.nextWindow;
    }
  }
}

const STATES = new Map<KnownTaskState, KnownTask['state']>([
  [KnownTaskState.KNOWN_TASK_STATE_OPEN, KNOWN_STATE.open],
  [KnownTaskState.KNOWN_TASK_STATE_DONE, KNOWN_STATE.done],
  [KnownTaskState.KNOWN_TASK_STATE_LEAVING, KNOWN_STATE.leaving],
  [KnownTaskState.KNOWN_TASK_STATE_HOLE, KNOWN_STATE.hole],
]);

/** Reads a task as a leader tells it. @throws TidemarkError `BAD_REQUEST`. */
export function readTask(task: KnownTaskMessage): KnownTask {
  const state = STATES.get(task.state);
  if (state === undefined) throw new TidemarkError('BAD_REQUEST', `a known task in state ${task.state}`);
  return {
    reportId: Number(task.reportId),
    generation: Number(task.generation),
    sourceId: Number(task.sourceId),
    firstWindow: Number(task.firstWindow),
    lastWindow: Number(task.lastWindow),
    part: task.part,
    token: task.token,
    state,
    seal: task.seal,
  };
}
