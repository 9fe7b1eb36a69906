/**
 * Shows each window once it has merged: one line that updates itself on a terminal, plain lines elsewhere.
 */
import { isTidemarkError, sleep, systemClock } from '../base/index.ts';
import type { WindowInfo } from '../wire/index.ts';

const LOOK_EVERY_MS = 200;
/** Windows asked for at a time; more than are sealed between two looks, also after a long pause. */
export const WINDOWS_PER_LOOK = 200;

export interface WindowWatchOptions {
  /** The newest windows, newest first. */
  readonly list: () => Promise<readonly WindowInfo[]>;
  readonly screen: Screen;
  /** The latest freshness in milliseconds, if one was measured. */
  readonly freshnessMs: () => number | undefined;
  readonly onMerged: () => void;
  /** On a kept folder: what an earlier run merged is not news. */
  readonly resumed: boolean;
}

export interface Screen {
  /** A line that stays. */
  line(text: string): void;
  /** A line that the next one replaces; shown on a terminal only. */
  live(text: string): void;
}

export class WindowWatch {
  readonly #options: WindowWatchOptions;
  /** Windows merge in any order. */
  readonly #shown = new Set<string>();
  #started = false;

  constructor(options: WindowWatchOptions) {
    this.#options = options;
  }

  /** Watches until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#look();
      await sleep(systemClock, LOOK_EVERY_MS);
    }
  }

  async #look(): Promise<void> {
    let windows: readonly WindowInfo[];
    try {
      windows = await this.#options.list();
    } catch (error) {
      // Between two leaders nobody can be asked; the next look shows what was missed.
      if (isTidemarkError(error) && error.retry !== 'never') return;
      throw error;
    }
    const merged = windows.filter((window) => window.state !== 'SEALED').toReversed();
    if (!this.#started && this.#options.resumed) for (const window of merged) this.#shown.add(nameOf(window));
    this.#started = true;
    for (const window of merged) if (!this.#shown.has(nameOf(window))) this.#show(window);
    const listed = new Set(windows.map(nameOf));
    for (const name of this.#shown) if (!listed.has(name)) this.#shown.delete(name);
    const next = windows.findLast((window) => window.state === 'SEALED');
    if (next !== undefined) {
      this.#options.screen.live(
        `window ${next.window}  ${next.rows} rows  ${next.tasksDone}/${next.tasks} tasks merged`,
      );
    }
  }

  #show(window: WindowInfo): void {
    this.#shown.add(nameOf(window));
    const freshness = this.#options.freshnessMs();
    const fresh = freshness === undefined ? '' : `  fresh within ${Math.round(freshness)} ms`;
    const holes = window.holes === 0 ? '' : `  ${window.holes} holes`;
    const took = window.mergedMs - window.sealedMs;
    this.#options.screen.line(
      `window ${window.window}  ${window.rows} rows  merged in ${took} ms${fresh}${holes}`,
    );
    this.#options.onMerged();
  }
}

const nameOf = (window: WindowInfo): string => `${window.source}/${window.window}`;
