// What processes take, looked at from outside (Linux): memory of their own, memory with the files that they
// have mapped, processor time, and the longest pause of their event loops (pauses-hook.mjs).
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const EVERY_MS = 250;
/** Linux counts processor time in hundredths of a second. */
const CPU_TICKS = 100;

function statusOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8');
    const of = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) / 1_024;
    return { own: of('RssAnon'), all: of('VmRSS') };
  } catch {
    return undefined;
  }
}

function cpuOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / CPU_TICKS;
  } catch {
    return undefined;
  }
}

/**
 * Watches processes until `stop()`, which tells of each: most memory of its own and most of all (MiB),
 * seconds of processor time, and the longest pause (ms) if its pauses are written down in `folder`.
 */
export function watch(pids, folder) {
  const beganAt = Date.now();
  const seen = pids.map((pid) => ({ pid, own: 0, all: 0, cpuBefore: cpuOf(pid) ?? 0, cpu: 0 }));
  const look = () => {
    for (const one of seen) {
      const now = statusOf(one.pid);
      if (now === undefined) continue;
      one.own = Math.max(one.own, now.own);
      one.all = Math.max(one.all, now.all);
      one.cpu = (cpuOf(one.pid) ?? one.cpuBefore + one.cpu) - one.cpuBefore;
    }
  };
  look();
  const timer = setInterval(look, EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      look();
      const pauseOf = (pid) =>
        folder === undefined ? 0 : longestPause(join(folder, `${pid}.pauses`), beganAt);
      return seen.map(({ pid, own, all, cpu }) => ({ own, all, cpu, pause: pauseOf(pid) }));
    },
  };
}

function longestPause(file, sinceMs) {
  if (!existsSync(file)) return 0;
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const pauses = lines.map((line) => line.split(' ').map(Number)).filter(([at]) => at >= sinceMs);
  return Math.max(0, ...pauses.map(([, ms]) => ms));
}
