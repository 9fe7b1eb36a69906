// Whether each change of the source lies in exactly one sealed window, with all of its transaction: a window
// must hold, image by image, what the source's own log has between the window's two positions. While tables
// are copied (the first snapshot, a re-snapshot) a window holds what no log has; of those windows together it
// must be the difference that the log has over all of them.
import { imageOfRow } from './source-log.mjs';
import { connected, tablesLike } from './databases.mjs';
import { TABLES } from './job.mjs';

const SHOWN_PER_WINDOW = 3;

export class SealedChanges {
  #sourceId;
  #log;
  #left = new Map();
  /** Epoch of each window that was taken. */
  #taken = new Map();
  /** `{ after, last, compared, windows }`: while tables were copied; `windows` are those not yet compared. */
  #gaps = [];
  #problems = [];
  rows = 0;

  /** @param log of the source, with `between(from, to)` and `known()` */
  constructor({ sourceId, log }) {
    this.#sourceId = sourceId;
    this.#log = log;
  }

  /** From the window after this one on, tables may be copied. */
  gapBegins(after) {
    const open = this.#gaps.some(({ last }) => last === undefined);
    if (!open) this.#gaps.push({ after, last: undefined, compared: false, windows: new Map() });
  }

  /** After this window they are not. */
  gapEnds(last) {
    for (const gap of this.#gaps) gap.last ??= last;
  }

  /**
   * Takes the rows of windows that it has not taken yet, or not under their epoch, as far as all of them are
   * in the stores.
   * @param windows number, epoch, positions and number of rows of each window, as sealed
   * @param stores URL of each shard's primary
   */
  async take(windows, stores) {
    const news = windows.filter(({ window, epoch }) => this.#taken.get(window) !== epoch);
    if (news.length > 0) {
      // A transaction is sealed sooner, now and then, than its writer has heard of its end.
      await this.#log.known();
      const found = await this.#read(news, stores);
      for (const sealed of news) await this.#takeOne(sealed, found.get(sealed.window));
    }
    for (const gap of this.#gaps) await this.#closeGap(gap);
  }

  /** Forgets what it took of later windows: the cluster does not know of them any more. */
  forgetAbove(last) {
    for (const windows of [this.#taken, this.#left, ...this.#gaps.map((gap) => gap.windows)]) {
      for (const window of [...windows.keys()]) if (window > last) windows.delete(window);
    }
  }

  /** What is wrong, after everything was taken. */
  problems() {
    const open = this.#gaps.filter(({ compared }) => !compared);
    return [
      ...this.#problems,
      ...this.#left.values(),
      ...open.map(({ after }) => `windows after ${after}, while tables were copied, were never compared`),
    ];
  }

  async #takeOne(sealed, changes) {
    const { window, epoch, rows } = sealed;
    if (changes.length !== Number(rows)) {
      this.#left.set(window, `window ${window}: ${changes.length} change rows, sealed as ${rows}`);
      return;
    }
    this.#left.delete(window);
    if (!this.#taken.has(window)) this.rows += changes.length;
    this.#taken.set(window, epoch);
    const gap = this.#gaps.find(
      ({ after, last }) => window > after && (last === undefined || window <= last),
    );
    if (gap === undefined) await this.#compareOne(sealed, changes);
    // What was captured while tables were copied is never captured again.
    else if (!gap.compared) gap.windows.set(window, { sealed, changes });
  }

  async #compareOne({ window, from, to }, changes) {
    const counted = ({ weight, image }) => [`${Number(weight) > 0 ? '+' : '-'} ${image}`, 1];
    const expected = await this.#log.between(from, to);
    this.#note(`window ${window}`, sumOf(changes, counted), sumOf(expected, counted));
  }

  async #closeGap(gap) {
    const { after, last, compared, windows } = gap;
    if (compared || last === undefined) return;
    for (let window = after + 1n; window <= last; window += 1n) if (!windows.has(window)) return;
    const inside = [...windows.values()].filter(({ sealed }) => sealed.window <= last);
    for (const { sealed, changes } of windows.values()) {
      if (sealed.window > last) await this.#compareOne(sealed, changes);
    }
    const net = ({ weight, image }) => [image, Number(weight)];
    const [{ from }, { to }] = [windows.get(after + 1n).sealed, windows.get(last).sealed];
    const expected = await this.#log.between(from, to);
    const found = sumOf(
      inside.flatMap(({ changes }) => changes),
      net,
    );
    this.#note(`windows ${after + 1n} to ${last} together`, found, sumOf(expected, net));
    windows.clear();
    gap.compared = true;
  }

  #note(where, found, expected) {
    const images = new Set([...found.keys(), ...expected.keys()]);
    const wrong = [...images].filter((image) => (found.get(image) ?? 0) !== (expected.get(image) ?? 0));
    for (const image of wrong.slice(0, SHOWN_PER_WINDOW)) {
      const [has, should] = [found.get(image) ?? 0, expected.get(image) ?? 0];
      this.#problems.push(`${where}: ${has} times ${image}, the source has ${should} (${wrong.length} such)`);
    }
  }

  /** From the change tables of every schema version, the columns that were there at the start. */
  async #read(news, stores) {
    const found = new Map(news.map(({ window }) => [window, []]));
    const sealed = news.map(({ epoch, window }) => `(${epoch}, ${window})`).join(', ');
    for (const store of stores) {
      await connected(store, async (query) => {
        for (const table of Object.keys(TABLES)) {
          for (const changes of await tablesLike(query, `tm_change_${this.#sourceId}_${table}_v`)) {
            const rows = await query(
              `SELECT _window, _w, ${TABLES[table]} FROM ${changes}
               WHERE _source = ? AND (_epoch, _window) IN (${sealed})`,
              [String(this.#sourceId)],
            );
            for (const row of rows) {
              found.get(BigInt(row._window)).push({ weight: row._w, image: imageOfRow(table, row) });
            }
          }
        }
      });
    }
    return found;
  }
}

function sumOf(changes, toEntry) {
  const sums = new Map();
  for (const change of changes) {
    const [key, weight] = toEntry(change);
    sums.set(key, (sums.get(key) ?? 0) + weight);
  }
  return sums;
}
