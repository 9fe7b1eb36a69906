/**
 * Compares this member's state with those of the others, again and again: every round each of them is asked
 * for a few digests, one question at a time. A member whose state is wrong ends; where nobody can say whose
 * is, the leader decides nothing until a majority agrees again.
 */
import {
  LIMITS,
  TidemarkError,
  isTidemarkError,
  mutated,
  type Cancel,
  type Clock,
} from '../../base/index.ts';
import type { Logger } from '../../ops/index.ts';
import {
  agreedIndex,
  judgeDigests,
  verdictAfter,
  type DigestReport,
  type Verdict,
} from './digest-verdict.ts';

export interface DigestWatchParts {
  readonly own: () => DigestReport;
  /** Ids of all voters; a learner is not among them, but compares its own state all the same. */
  readonly voters: () => readonly number[];
  readonly ownId: number;
  /** @throws TidemarkError when the member does not answer. */
  readonly ask: (member: number) => Promise<DigestReport>;
  readonly clock: Clock;
  readonly log: Logger;
  /** The verdict has become another kind. */
  readonly onVerdict: (verdict: Verdict) => void;
  /** This member's state is wrong: `STATE_DIVERGED`. The process must end. */
  readonly onFatal: (error: unknown) => void;
}

export class DigestWatch {
  readonly #parts: DigestWatchParts;
  readonly #reports = new Map<number, DigestReport>();
  #verdict: Verdict = { kind: 'equal' };
  #next: Cancel | undefined;
  #stopped = false;

  constructor(parts: DigestWatchParts) {
    this.#parts = parts;
  }

  get verdict(): Verdict {
    return this.#verdict;
  }

  /** Begins: the first round is at once. */
  start(): void {
    void this.#round();
  }

  stop(): void {
    this.#stopped = true;
    this.#next?.();
  }

  async #round(): Promise<void> {
    const { voters, ownId, clock, onFatal } = this.#parts;
    try {
      const others = voters().filter((member) => member !== ownId);
      await Promise.all(others.map((member) => this.#ask(member)));
    } catch (error) {
      onFatal(error);
      return;
    }
    if (this.#stopped) return;
    this.#judge();
    this.#next = clock.after(LIMITS.digestRoundMs, () => void this.#round());
  }

  /** Who does not answer has said nothing, also not what it said before. */
  async #ask(member: number): Promise<void> {
    try {
      this.#reports.set(member, await this.#parts.ask(member));
    } catch (error) {
      if (!isTidemarkError(error)) throw error;
      this.#reports.delete(member);
    }
  }

  #judge(): void {
    const { own, ownId, log, onVerdict, onFatal } = this.#parts;
    if (mutated('coordinator.digestsNotCompared')) return;
    const voters = this.#parts.voters();
    for (const member of this.#reports.keys()) if (!voters.includes(member)) this.#reports.delete(member);
    const electorate = { voters: voters.length, ownVotes: voters.includes(ownId) };
    const report = own();
    const found = judgeDigests(report, this.#reports, electorate);
    const agreed = agreedIndex(report, this.#reports, electorate);
    const verdict = verdictAfter(this.#verdict, found, agreed);
    const changed = verdict.kind !== this.#verdict.kind;
    this.#verdict = verdict;
    if (!changed) return;
    if (verdict.kind === 'equal') log.info({}, 'the states of all members that answer are equal again');
    else log.error({ ...verdict, verdict: verdict.kind }, 'the states of members differ');
    onVerdict(verdict);
    if (verdict.kind === 'wrong') onFatal(diverged(verdict));
  }
}

function diverged({ index, own, theirs }: Extract<Verdict, { kind: 'wrong' }>): TidemarkError {
  return new TidemarkError(
    'STATE_DIVERGED',
    `after entry ${index} the state of this member sums to ${own}, that of a majority to ${theirs}`,
    {
      next:
        'Look at memory and disk of this machine, and keep a copy of the data folder. Then empty its state ' +
        'folder and start it again: the state is made anew of its log, or sent by the others.',
      details: { index: String(index), own, theirs },
    },
  );
}
