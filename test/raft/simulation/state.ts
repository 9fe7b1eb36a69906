/**
 * The replicated state in a simulated member: the product's tables and `apply`, in memory. The workload
 * counts: each request opens a session, which takes the next session id, so that every effect shows.
 */
import { must } from '../../../src/base/index.ts';
import type { CommittedEntry, ReplicatedStateMachine } from '../../../src/raft/index.ts';
import { encodeReplies } from '../../../src/statemachine/commands/replies.ts';
import {
  ENTRY_FORMAT,
  MemoryState,
  applyEntry,
  decodeEntry,
  decodeReplies,
  encodeEntry,
} from '../../../src/statemachine/index.ts';

/** One try of a client's request. `attempt` tells tries of the same request apart in the log. */
export interface Attempt {
  readonly attempt: number;
  readonly session: number;
  readonly sequence: number;
}

export function encodeAttempt({ attempt, session, sequence }: Attempt): Uint8Array {
  const operations = [{ type: 'session.open', v: 1, name: 'sim' }] as const;
  return encodeEntry({ logTimeMs: 0, wallMs: attempt, items: [{ session, sequence, operations }] });
}

/** Returns the count that a request was answered with, or undefined if it was refused. */
export function countOf(reply: Uint8Array): number | undefined {
  const result = decodeReplies(reply)[0]?.[0];
  return result?.ok === true ? Number(result.value['sessionId']) : undefined;
}

export class SimState implements ReplicatedStateMachine {
  readonly applied: CommittedEntry[] = [];
  /** What each try of a request was answered with. */
  readonly answers = new Map<number, number | undefined>();
  /** The digest after each entry: a function of the index alone. */
  readonly digests: string[] = [''];
  readonly #memory = new MemoryState();
  readonly #requests = new Set<string>();

  get appliedIndex(): number {
    return this.applied.at(-1)?.index ?? 0;
  }

  get count(): number {
    return this.#memory.cluster.ids.session;
  }

  apply(entries: readonly CommittedEntry[]): Promise<readonly Uint8Array[]> {
    return Promise.resolve(entries.map((entry) => this.#applyOne(entry)));
  }

  /** The state after the first `entries` entries, made anew. */
  upTo(entries: number): SimState {
    const state = new SimState();
    for (const entry of this.applied.slice(0, entries)) state.#applyOne(entry);
    return state;
  }

  #applyOne(entry: CommittedEntry): Uint8Array {
    if (entry.index !== this.appliedIndex + 1)
      throw new Error(`applied ${entry.index} after ${this.appliedIndex}`);
    this.applied.push(entry);
    const reply = entry.data.length === 0 ? new Uint8Array(0) : this.#run(entry);
    this.#memory.takeChanges();
    this.digests.push(this.#memory.digest);
    return reply;
  }

  #run(entry: CommittedEntry): Uint8Array {
    // Tests of the driver propose plain text, which is answered with itself.
    if (entry.data[0] !== ENTRY_FORMAT) return entry.data;
    const decoded = decodeEntry(entry.data);
    const { session, sequence } = must(decoded.items[0], 'a request');
    const attempt = decoded.wallMs;
    const reply = encodeReplies(applyEntry(this.#memory, decoded, entry));
    const count = countOf(reply);
    this.answers.set(attempt, count);
    if (count !== undefined) this.#requests.add(session === 0 ? `try ${attempt}` : `${session}/${sequence}`);
    // Exactly-once, said without asking how: as many effects as different requests.
    if (this.count !== this.#requests.size)
      throw new Error(`${this.#requests.size} requests had ${this.count} effects at entry ${entry.index}`);
    return reply;
  }
}
