// Keeps every window that the cluster ever told of, and what is wrong with their chain: windows follow each
// other without gap or overlap, and what was sealed once never changes, but for the epoch of what a
// failed-over store had lost.
const LIST_MAX = 200;

export class WindowsSeen {
  #client;
  #seen = new Map();
  problems = [];
  resealed = 0;

  constructor(client) {
    this.#client = client;
  }

  async look() {
    let windows;
    try {
      windows = await this.#client.listWindows({ limit: LIST_MAX });
    } catch (error) {
      if (error.retry === 'never') throw error;
      return;
    }
    for (const { sourceId, window, epoch, from, to, rows } of windows) {
      const known = this.#seen.get(window);
      const now = { sourceId, window, epoch, from, to, rows };
      this.#seen.set(window, now);
      if (known === undefined) continue;
      if (known.epoch < epoch) this.resealed += 1;
      if (known.epoch > epoch || ['from', 'to', 'rows'].some((field) => known[field] !== now[field])) {
        this.problems.push(`window ${window} was sealed as ${text(known)} and is now ${text(now)}`);
      }
    }
  }

  /** The cluster came back as it was when this was its last window; later ones it seals in its own way. */
  forgetAbove(last) {
    for (const window of this.#seen.keys()) if (window > last) this.#seen.delete(window);
  }

  get list() {
    return [...this.#seen.values()];
  }

  /** All of them in order; a window that is missing between two is a problem. */
  all() {
    const windows = this.list.sort((a, b) => Number(a.window - b.window));
    for (const [at, window] of windows.entries()) {
      const before = windows[at - 1];
      const follows =
        before === undefined
          ? window.window === 1n
          : window.window === before.window + 1n && window.from === before.to;
      if (!follows)
        this.problems.push(`window ${window.window} from ${window.from} does not follow the last`);
    }
    return windows;
  }
}

const text = ({ epoch, from, to, rows }) => `${from} to ${to}, ${rows} rows, epoch ${epoch}`;
