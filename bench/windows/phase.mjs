// One phase of a run: what freshness, rate and processor time were while it lasted.
import { cpus } from 'node:os';
import { readFileSync } from 'node:fs';
import { pause } from '../cluster.mjs';
import { percentile } from './freshness.mjs';
import { cpuOf } from './processor-time.mjs';

const CPU_TICKS = 100;
const TELL_EVERY_MS = 60_000;

/** Processor time of the whole machine, in seconds: all that is not idle. */
function machineTime() {
  const [first] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [user, nice, system, , , irq, softirq] = first.trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / CPU_TICKS;
}

const timesOf = (parts) => ({
  ...Object.fromEntries(
    Object.entries(parts).map(([part, pids]) => [part, pids.reduce((sum, pid) => sum + cpuOf(pid), 0)]),
  ),
  'whole machine': machineTime(),
});

/**
 * Measures for `seconds`. `used` is processor time by part, of 1.00 each; `pending` the age of the oldest
 * commit that some report does not show at the end, `spread` the reports that show the fewest windows and the
 * most then.
 */
export async function measurePhase({ parts, meter, progress, seconds, say }) {
  meter.samples.length = 0;
  const before = timesOf(parts);
  const changesBefore = progress.changes;
  const beganAt = performance.now();
  let told = beganAt;
  while (performance.now() < beganAt + seconds * 1_000) {
    await pause(500);
    if (performance.now() - told < TELL_EVERY_MS) continue;
    told = performance.now();
    const last = meter.samples.slice(-300);
    say(`  last minute: p50 ${ms(percentile(last, 50))}, p99 ${ms(percentile(last, 99))}`);
  }
  const took = (performance.now() - beganAt) / 1_000;
  const after = timesOf(parts);
  const used = Object.fromEntries(
    Object.keys(before).map((part) => [part, (after[part] - before[part]) / took]),
  );
  const samples = [...meter.samples];
  return {
    used,
    rate: (progress.changes - changesBefore) / took,
    p50: percentile(samples, 50),
    p99: percentile(samples, 99),
    worst: samples.reduce((most, sample) => Math.max(most, sample), 0),
    commits: samples.length,
    pending: meter.oldest(),
    spread: await meter.spread(),
  };
}

export function tellPhase(phase, say) {
  say(`row changes: ${Math.round(phase.rate)}/s`);
  say(
    `freshness: p50 ${ms(phase.p50)}, p99 ${ms(phase.p99)}, worst ${ms(phase.worst)} ` +
      `(${phase.commits} commits), oldest that is not shown ${ms(phase.pending)}`,
  );
  const [least, most] = phase.spread;
  say(`windows shown: from ${least.shown} (${least.report}) to ${most.shown} (${most.report})`);
  say('processor time, of 1.00 each:');
  for (const [part, used] of Object.entries(phase.used)) say(`  ${part.padEnd(13)} ${used.toFixed(2)}`);
}

/** What a phase could not have had more of. */
export function limitOf(phase) {
  const parts = Object.entries(phase.used).filter(([part]) => part !== 'whole machine');
  const [most] = parts.sort(([, a], [, b]) => b - a);
  const busy = phase.used['whole machine'];
  const own = parts.reduce((sum, [, used]) => sum + used, 0);
  const ofAll = `${busy.toFixed(2)} of ${cpus().length} busy, ${own.toFixed(2)} of it this benchmark`;
  const what = busy > 0.92 * cpus().length ? 'processors' : `not the processors as a whole`;
  return `${what}: ${ofAll}, most of it ${most[0]} (${most[1].toFixed(2)})`;
}

export function ms(value) {
  return `${Math.round(value)} ms`;
}
