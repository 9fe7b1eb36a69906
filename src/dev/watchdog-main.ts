/**
 * Outlives `dev` by a few seconds. Children of a killed `dev` end by themselves when their channel to it
 * closes, but one that is stopped (SIGSTOP) cannot. This process holds the read end of a pipe from `dev`
 * with lines `+pid` and `-pid`; when the pipe ends it wakes what is left, and kills what does not end.
 */
import { createInterface } from 'node:readline';

const GRACE_MS = 3_000;
const alive = new Set<number>();

/** A process that has ended meanwhile is what we want: ESRCH is success. */
function signal(pid: number, name: 'SIGCONT' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function signalAll(name: 'SIGCONT' | 'SIGKILL'): void {
  for (const pid of alive) signal(pid, name);
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const pid = Number(line.slice(1));
  if (line.startsWith('+')) alive.add(pid);
  else alive.delete(pid);
});
lines.on('close', () => {
  signalAll('SIGCONT');
  setTimeout(() => {
    signalAll('SIGKILL');
  }, GRACE_MS);
});
// Ctrl-C goes to a whole terminal; this process goes only when its pipe ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
