/** Lines for people on stderr, and one at the bottom of a terminal that is written over. */
import type { Screen } from './window-watch.ts';

export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export function createScreen(terminal: Terminal): Screen {
  const isTerminal = terminal.isTTY === true;
  let live = false;
  // `CSI 2K` clears what stands on the line.
  const clear = (): string => (live ? '\r\u001b[2K' : '');
  return {
    line(text) {
      terminal.write(`${clear()}${text}\n`);
      live = false;
    },
    live(text) {
      if (!isTerminal) return;
      terminal.write(`${clear()}${text}`);
      live = true;
    },
  };
}
