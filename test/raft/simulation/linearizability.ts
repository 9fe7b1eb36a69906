/**
 * Judges a history of calls: is there one order that respects real time and in which every answer is right?
 * After Wing and Gong with Lowe's memo: states of the search are remembered by what was ordered so far.
 * Histories of different keys are judged apart (a history is linearizable if each object's is).
 */

/** A call whose return is undefined may have taken effect at any time after its begin, or never. */
export interface Call<I, O> {
  readonly key: string;
  readonly input: I;
  readonly begin: number;
  readonly end: number | undefined;
  /** What it answered; of a call that did not return, what it would have, if that is known. */
  readonly output: O | undefined;
}

export interface Model<S, I, O> {
  readonly initial: S;
  /** Returns the state after the call, or undefined if this answer is wrong in this state. */
  readonly step: (state: S, input: I, output: O | undefined) => S | undefined;
  /** Tells of a call that it changes nothing in whatever state it is right. */
  readonly observes: (input: I, output: O | undefined) => boolean;
}

export type Verdict = 'linearizable' | 'not linearizable' | 'unknown';

/** A search that was given up says unknown, never linearizable. */
export function judge<S extends string | number, I, O>(
  calls: readonly Call<I, O>[],
  model: Model<S, I, O>,
  stepsMax = 2_000_000,
): Verdict {
  let verdict: Verdict = 'linearizable';
  const budget = { steps: stepsMax };
  for (const key of new Set(calls.map((call) => call.key))) {
    const found = judgeKey(
      calls.filter((call) => call.key === key),
      model,
      budget,
    );
    if (found === 'not linearizable') return found;
    if (found === 'unknown') verdict = found;
  }
  return verdict;
}

/** `done`: calls at or after `low` that are ordered already; all before `low` are. */
interface Node<S> {
  readonly low: number;
  readonly done: readonly number[];
  readonly state: S;
}

function judgeKey<S extends string | number, I, O>(
  unsorted: readonly Call<I, O>[],
  model: Model<S, I, O>,
  budget: { steps: number },
): Verdict {
  const calls = [...unsorted].sort((left, right) => left.begin - right.begin);
  const seen = new Set<string>();
  const stack: Node<S>[] = [{ low: 0, done: [], state: model.initial }];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    const next = candidates(calls, node);
    if (next === 'all answered') return 'linearizable';
    const branches: Node<S>[] = [];
    for (const index of next) {
      if (budget.steps-- <= 0) return 'unknown';
      const call = calls[index];
      const state = call === undefined ? undefined : model.step(node.state, call.input, call.output);
      if (state === undefined) continue;
      const after = order(node, index, state);
      // What only observes and is right here may as well come first: no order is lost by it. A write of the
      // value that stands is no such call: it may be needed later.
      const observed = call !== undefined && model.observes(call.input, call.output);
      if (observed) branches.length = 0;
      branches.push(after);
      if (observed) break;
    }
    for (const after of branches.reverse()) {
      const memo = `${after.low}|${after.done.join()}|${after.state}`;
      if (seen.has(memo)) continue;
      seen.add(memo);
      stack.push(after);
    }
  }
  return 'not linearizable';
}

/** Those that may come next: they began before any that is not ordered yet has returned. */
function candidates<S>(
  calls: readonly Call<unknown, unknown>[],
  node: Node<S>,
): readonly number[] | 'all answered' {
  const found: number[] = [];
  let firstEnd = Infinity;
  for (let index = node.low; index < calls.length; index++) {
    const call = calls[index];
    if (call === undefined || call.begin > firstEnd) break;
    if (node.done.includes(index)) continue;
    firstEnd = Math.min(firstEnd, call.end ?? Infinity);
    found.push(index);
  }
  return firstEnd === Infinity ? 'all answered' : found;
}

function order<S>(node: Node<S>, index: number, state: S): Node<S> {
  const done = [...node.done, index].sort((left, right) => left - right);
  let { low } = node;
  while (done[0] === low) {
    done.shift();
    low++;
  }
  return { low, done, state };
}

export type KeyInput =
  | { readonly type: 'read' }
  /** Takes place if the value is the expected one, or none is expected. Deleting writes ''. */
  | { readonly type: 'write'; readonly value: string; readonly expected: string | undefined };

/** A read answers the value; a write whether it took place, and the value before it. */
export type KeyOutput = string | { readonly applied: boolean; readonly previous: string };

/** A key that is read, written, compared and deleted; '' while there is none. */
export const KEY: Model<string, KeyInput, KeyOutput> = {
  initial: '',
  step: (value, input, output) => {
    if (input.type === 'read') return output === undefined || output === value ? value : undefined;
    const applies = input.expected === undefined || input.expected === value;
    if (output !== undefined) {
      if (typeof output === 'string' || output.previous !== value || output.applied !== applies)
        return undefined;
    }
    return applies ? input.value : value;
  },
  observes: (input, output) => input.type === 'read' || (typeof output === 'object' && !output.applied),
};

export type RegisterInput =
  | { readonly type: 'read' }
  | { readonly type: 'write'; readonly value: string }
  | { readonly type: 'swap'; readonly from: string; readonly to: string };

/** A read answers the value; a swap whether it took place. */
export const REGISTER: Model<string, RegisterInput, string | boolean> = {
  initial: '',
  step: (value, input, output) => {
    if (input.type === 'read') return output === undefined || output === value ? value : undefined;
    if (input.type === 'write') return input.value;
    const swaps = value === input.from;
    if (output !== undefined && output !== swaps) return undefined;
    return swaps ? input.to : value;
  },
  observes: (input, output) => input.type === 'read' || (input.type === 'swap' && output === false),
};
