// What must have bitten in a run that is to prove something (evidence rule 3), counted as it happens.
const REQUIRED = [
  'leader changes with tasks in flight',
  'fenced merges',
  'collector takeovers with unsealed rows',
  'replaced contributions',
];

export class Events {
  #counts = new Map(REQUIRED.map((name) => [name, 0]));

  count(name) {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** A collector died at a failpoint, and another began; `detail` is what the failpoint told. */
  collectorTakenOver(name, detail) {
    const unsealed = name !== 'collector.afterSeal' && Number(detail.rows) > 0;
    if (unsealed) this.count('collector takeovers with unsealed rows');
  }

  /** Another leads after one died while so many tasks were `assigned`. */
  leaderChanged(assigned) {
    if (assigned > 0) this.count('leader changes with tasks in flight');
  }

  /** A line of an executor's log about the end of a task. */
  logged(record) {
    if (record.result === 'FENCED') this.count('fenced merges');
    if (record.replaced === true) this.count('replaced contributions');
  }

  missing() {
    return REQUIRED.filter((name) => this.#counts.get(name) === 0);
  }

  shown() {
    return [...this.#counts].map(([name, count]) => `${name} ${count}`).join(', ');
  }
}
