/**
 * What the states must be: each entry answered as the model says, and the same state after the same entry on
 * every member, whether it came by log or by snapshot.
 */
import type { MemberId } from '../../../src/base/index.ts';
import { MemoryState, applyEntry, decodeEntry } from '../../../src/statemachine/index.ts';
import { Model } from './model.ts';
import { answerOf, type Answer, type Attempt } from './requests.ts';
import type { Applied, SimState } from './state.ts';

export class StateOracle {
  readonly model = new Model();
  readonly #fail: (text: string) => void;
  readonly #proposed = new Map<string, Attempt>();
  /** What the attempts in the log were answered with, or would have been. */
  readonly #answers = new Map<number, Answer>();
  readonly #expected: (Answer | undefined)[] = [undefined];
  /** Applies each entry once, by itself: states of members that group entries must come to the same. */
  readonly #reference = new MemoryState();
  readonly #digests: string[] = [this.#reference.digest];
  readonly #seen = new WeakMap<SimState, number>();

  constructor(fail: (text: string) => void) {
    this.#fail = fail;
  }

  proposed(text: string, attempt: Attempt): void {
    this.#proposed.set(text, attempt);
  }

  /** What an attempt led to; undefined if it is not in the log. */
  effectOf(attempt: number): Answer | undefined {
    return this.#answers.get(attempt);
  }

  /** The next entry is committed. */
  committed(index: number, term: number, text: string): void {
    const attempt = this.#proposed.get(text);
    if (attempt === undefined) {
      this.#expected[index] = undefined;
    } else {
      const answer = this.model.apply(attempt);
      this.#answers.set(attempt.attempt, answer);
      this.#expected[index] = answer;
      applyEntry(this.#reference, decodeEntry(Buffer.from(text, 'latin1')), { index, term });
      this.#reference.takeChanges();
    }
    this.#digests[index] = this.#reference.digest;
  }

  /** A member applied an entry that is committed. */
  applied(id: MemberId, { entry, reply }: Applied): void {
    const expected = this.#expected[entry.index];
    if (expected === undefined) return;
    const answer = answerOf(reply);
    if (sameAnswer(answer, expected)) return;
    this.#fail(`member ${id} answers entry ${entry.index} with ${shown(answer)}, not ${shown(expected)}`);
  }

  /** Looks at a state whenever its applied index has moved. */
  look(id: MemberId, state: SimState): void {
    const { appliedIndex } = state;
    if (this.#seen.get(state) === appliedIndex) return;
    this.#seen.set(state, appliedIndex);
    const digest = state.digest;
    const known = digest === undefined ? undefined : this.#digests[digest.index];
    if (digest?.digest !== known) this.#fail(`member ${id} holds another state after entry ${appliedIndex}`);
  }

  /** Every key of a member that has applied everything holds what the model holds. */
  lookAtKeys(id: MemberId, state: SimState, keys: readonly string[]): void {
    for (const key of keys) {
      const row = state.read(key);
      const value = this.model.values.get(key);
      if (row?.value !== value?.value || row?.revision !== value?.revision) {
        this.#fail(`member ${id} holds ${shown(row)} under ${key}, not ${shown(value)}`);
      }
    }
  }
}

export function sameAnswer(left: Answer | undefined, right: Answer | undefined): boolean {
  return shown(left) === shown(right);
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}
