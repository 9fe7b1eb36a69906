/** Plays whole histories: random steps, judged after each, then everything ends well and is judged again. */
import { ALL_RULES, type Rules } from './clauses.ts';
import { judge, judgeEnd } from './judge.ts';
import { Random } from './random.ts';
import { Violation } from './violation.ts';
import { World } from './world.ts';

const STEPS_PER_WORLD = 300;

export interface Played {
  readonly steps: number;
  readonly happened: ReadonlyMap<string, number>;
  readonly violation?: { readonly seed: number; readonly message: string };
}

/** Plays `steps` steps from `seed` on, in worlds of a few hundred each; ends with the first violation. */
export function play(seed: number, steps: number, rules: Rules = ALL_RULES): Played {
  const happened = new Map<string, number>();
  let played = 0;
  for (let at = seed; played < steps; at++) {
    const world = new World(new Random(at), rules);
    try {
      for (let step = 0; step < STEPS_PER_WORLD; step++) {
        world.step();
        judge(world);
        played += 1;
      }
      if (!world.settle()) throw new Violation('work is left for ever');
      judge(world);
      judgeEnd(world);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      return { steps: played, happened, violation: { seed: at, message: error.message } };
    }
    for (const [name, times] of world.happened) happened.set(name, (happened.get(name) ?? 0) + times);
  }
  return { steps: played, happened };
}
