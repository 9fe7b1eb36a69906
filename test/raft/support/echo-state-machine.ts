import type { CommittedEntry, ReplicatedStateMachine } from '../../../src/raft/index.ts';

/** Remembers what was applied and answers each entry with its own data. */
export class EchoStateMachine implements ReplicatedStateMachine {
  readonly applied: CommittedEntry[] = [];

  get appliedIndex(): number {
    return this.applied.at(-1)?.index ?? 0;
  }

  apply(entries: readonly CommittedEntry[]): Promise<readonly Uint8Array[]> {
    for (const entry of entries) {
      if (entry.index !== this.appliedIndex + 1)
        throw new Error(`applied ${entry.index} after ${this.appliedIndex}`);
      this.applied.push(entry);
    }
    return Promise.resolve(entries.map((entry) => entry.data));
  }

  get texts(): readonly string[] {
    return this.applied.filter(({ data }) => data.length > 0).map(({ data }) => Buffer.from(data).toString());
  }
}
