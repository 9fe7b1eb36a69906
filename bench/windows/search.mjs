// Looks for the highest rate that is sustained: freshness keeps to its bound, the load is really written, and
// nothing piles up.
import { pause } from '../cluster.mjs';
import { limitOf, measurePhase, ms, tellPhase } from './phase.mjs';

const STEP = 1.3;
const CLOSE_ENOUGH = 1.1;
const STEPS_MAX = 8;
const WRITTEN_SHARE = 0.95;
const SETTLED_MS = 300_000;

/** Resolves with the highest rate that was sustained and the lowest that was not, 0 or Infinity if none. */
export async function search({ parts, meter, progress, options, say }) {
  let good = 0;
  let bad = Infinity;
  let rate = options.rate;
  let limit = '';
  for (let step = 0; step < STEPS_MAX && bad / good > CLOSE_ENOUGH; step += 1) {
    progress.setRate(rate);
    say('');
    say(`step ${step + 1}: ${Math.round(rate)} row changes/s`);
    await pause(options.warm * 1_000);
    const phase = await measurePhase({ parts, meter, progress, seconds: options.minutes * 60, say });
    tellPhase(phase, say);
    const written = phase.rate >= WRITTEN_SHARE * rate;
    const fresh = phase.commits > 0 && phase.p99 <= options.fresh && phase.pending <= options.fresh;
    say(
      written && fresh
        ? 'sustained'
        : `not sustained: ${written ? 'not fresh enough' : 'not all was written'}`,
    );
    if (written && fresh) good = rate;
    else {
      bad = rate;
      limit = limitOf(phase);
      await settle(meter, progress);
    }
    rate = bad === Infinity ? rate * STEP : good === 0 ? rate / STEP : Math.sqrt(good * bad);
  }
  say('');
  say(
    `highest rate sustained, with freshness p99 at most ${ms(options.fresh)}: ${Math.round(good)} changes/s`,
  );
  if (bad === Infinity) say('no limit was met: begin with a higher --rate');
  else say(`at ${Math.round(bad)}/s it is limited by ${limit}`);
  return good;
}

/** A backlog of the last step must not count in the next one. */
async function settle(meter, progress) {
  progress.setRate(100);
  const endsAt = performance.now() + SETTLED_MS;
  while (meter.oldest() > 6_000 && performance.now() < endsAt) await pause(500);
}
