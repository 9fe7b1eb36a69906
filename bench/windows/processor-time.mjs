// Processor time of a process, threads together (Linux).
import { readdirSync, readFileSync } from 'node:fs';

const CPU_TICKS = 100;

/** Seconds since the process began, in steps of 10 ms; also of threads that have ended. */
export function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CPU_TICKS;
}

/** Milliseconds of the threads that are there now, exactly; for differences while no thread ends. */
export function cpuMs(pid) {
  let ns = 0n;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += BigInt(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch (error) {
      // A thread that has ended since the folder was read.
      if (!['ENOENT', 'ESRCH'].includes(error.code)) throw error;
    }
  }
  return Number(ns) / 1e6;
}
