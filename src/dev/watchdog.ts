/** Starts the watchdog (watchdog-main.ts) and tells it which processes must not outlive this one. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Watchdog {
  watch(pid: number): void;
  /** The process has ended: its pid may belong to somebody else soon. */
  forget(pid: number): void;
  close(): void;
}

export function startWatchdog(): Watchdog {
  const script = fileURLToPath(new URL('./watchdog-main.js', import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  // Without the watchdog a run is still right; only a kill -9 of `dev` could then leave a stopped child
  // behind.
  child.stdin.on('error', () => child.stdin.destroy());
  child.unref();
  return {
    watch: (pid) => child.stdin.write(`+${pid}\n`),
    forget: (pid) => child.stdin.write(`-${pid}\n`),
    close: () => child.stdin.end(),
  };
}
