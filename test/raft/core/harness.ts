import {
  logIndex,
  memberId,
  term as makeTerm,
  type LogIndex,
  type MemberId,
  type Term,
} from '../../../src/base/index.ts';
import {
  Configurations,
  LogView,
  RaftCore,
  TermRuns,
  type Append,
  type AppendReply,
  type Effects,
  type InflightLimit,
  type Message,
  type SliceLimit,
} from '../../../src/raft/core/index.ts';
import { makeConfigurationEntry, makeEntry, type Entry } from '../../../src/raft/entry.ts';
import type { Configuration } from '../../../src/raft/index.ts';
import { configurationOf, type ConfigurationText } from '../support/membership.ts';

export const T = (value: number): Term => makeTerm(value);
export const I = (value: number): LogIndex => logIndex(value);
export const M = (value: number): MemberId => memberId(value);

export const ELECTION_TICKS = 10;
export const HEARTBEAT_TICKS = 2;

/** Entries with these terms, from `first` on. */
export function entriesOf(terms: readonly number[], first = 1, prevTerm = 0): readonly Entry[] {
  let before = prevTerm;
  return terms.map((term, at) => {
    const place = { index: I(first + at), term: T(term), prevTerm: T(before) };
    before = term;
    return makeEntry(place, Buffer.from(`${first + at}@${term}`));
  });
}

/** An entry that changes the members. */
export function configurationEntry(configuration: Configuration, term: number, prevTerm = term): Entry {
  const place = { index: configuration.index, term: T(term), prevTerm: T(prevTerm) };
  return makeConfigurationEntry(place, configuration);
}

export interface CoreSetup {
  readonly id?: number;
  readonly size?: number;
  readonly term?: number;
  readonly vote?: number;
  /** The terms of the entries in its log. */
  readonly log?: readonly number[];
  readonly applied?: number;
  /** The entries up to here were compacted away. @default none */
  readonly base?: number;
  readonly seed?: number;
  readonly tailBytes?: number;
  readonly appendLimit?: SliceLimit;
  readonly inflightLimit?: InflightLimit;
  /** In force before its log. @default voters from 1 to `size` */
  readonly members?: ConfigurationText;
}

/** A core and everything that it ever asked for, with writes that complete when the test says so. */
export class TestCore {
  readonly core: RaftCore;
  readonly id: MemberId;
  readonly log: Effects[] = [];
  #written = 0;

  constructor(setup: CoreSetup = {}) {
    const entries = entriesOf(setup.log ?? []);
    const runs = new TermRuns();
    for (const entry of entries) runs.append(entry.index, entry.term);
    this.id = M(setup.id ?? 1);
    const voters = Array.from({ length: setup.size ?? 3 }, (_, at) => at + 1);
    const configurations = new Configurations(configurationOf(setup.members ?? { voters }));
    const log = new LogView(runs, configurations, entries);
    if (setup.base !== undefined) log.compact(I(setup.base));
    this.core = new RaftCore(
      {
        id: this.id,
        electionTicks: ELECTION_TICKS,
        heartbeatTicks: HEARTBEAT_TICKS,
        appendLimit: setup.appendLimit ?? { entries: 1_000, bytes: 1024 * 1024 },
        inflightLimit: setup.inflightLimit ?? { appends: 4, bytes: 1024 * 1024 },
        tailBytes: setup.tailBytes ?? 1024 * 1024,
        seed: setup.seed ?? 1,
      },
      {
        hardState: {
          term: T(setup.term ?? setup.log?.at(-1) ?? 0),
          vote: setup.vote === undefined ? undefined : M(setup.vote),
        },
        log,
        appliedIndex: I(setup.applied ?? 0),
      },
    );
  }

  step(input: Parameters<RaftCore['step']>[0]): Effects {
    const effects = this.core.step(input);
    this.log.push(effects);
    return effects;
  }

  receive(from: number, message: Message): Effects {
    return this.step({ type: 'message', from: M(from), message });
  }

  tick(count = 1): readonly Effects[] {
    return Array.from({ length: count }, () => this.step({ type: 'tick' }));
  }

  /** Everything that was asked for is on disk now. */
  persisted(): Effects {
    const last = this.log.findLast(({ persist }) => persist !== undefined)?.persist?.sequence ?? 0;
    this.#written = Math.max(this.#written, last);
    return this.step({ type: 'persisted', sequence: this.#written });
  }

  /** Runs elections until this core leads its next term. */
  lead(): this {
    this.campaign();
    for (const id of [2, 3, 4, 5]) {
      if (this.core.role === 'candidate')
        this.receive(id, { type: 'vote-reply', term: this.core.term, granted: true });
    }
    return this;
  }

  /** Ticks until the pre-vote, wins it, and has its own vote on disk. */
  campaign(): this {
    for (let at = 0; at < 3 * ELECTION_TICKS && this.core.role === 'follower'; at++) this.tick();
    const asked = T(this.core.term + 1);
    for (const id of [2, 3, 4, 5]) {
      if (this.core.role === 'pre-candidate')
        this.receive(id, { type: 'pre-vote-reply', term: asked, granted: true });
    }
    this.persisted();
    return this;
  }

  terms(): readonly number[] {
    const all = this.core.entries(I(1), { entries: Infinity, bytes: Infinity }) ?? [];
    return all.map(({ term }) => term);
  }
}

export function append(
  term: number,
  at: {
    readonly prev: readonly [index: number, term: number];
    readonly commit?: number;
    readonly terms?: readonly number[];
  },
): Append {
  const [prevIndex, prevTerm] = at.prev;
  return {
    type: 'append',
    term: T(term),
    prevIndex: I(prevIndex),
    prevTerm: T(prevTerm),
    commit: I(at.commit ?? 0),
    entries: entriesOf(at.terms ?? [], prevIndex + 1, prevTerm),
  };
}

export function accepted(term: number, index: number): AppendReply {
  return {
    type: 'append-reply',
    term: T(term),
    accepted: true,
    index: I(index),
    hintIndex: I(0),
    hintTerm: T(0),
  };
}

export const heartbeat = (term: number, commit = 0, round = 0): Message => ({
  type: 'heartbeat',
  term: T(term),
  commit: I(commit),
  round,
});

export function sent(effects: Effects): readonly (readonly [to: number, message: Message])[] {
  return [...effects.sendNow, ...effects.sendAfterDurable].map(({ to, message }) => [to, message]);
}

/**
 * Carries every message between cores, with disks that are always done, until nobody says anything more.
 * Returns the rounds.
 */
export function settle(
  cores: readonly TestCore[],
  first: readonly (readonly [from: number, effects: Effects])[],
): number {
  let waiting = [...first];
  let rounds = 0;
  while (waiting.length > 0) {
    rounds++;
    const next: (readonly [number, Effects])[] = [];
    for (const [from, effects] of waiting) {
      for (const [to, message] of sent(effects)) {
        const core = cores.find(({ id }) => id === to);
        if (core === undefined) continue;
        next.push([to, core.receive(from, message)]);
        next.push([to, core.persisted()]);
      }
    }
    waiting = next.filter(([, effects]) => sent(effects).length > 0);
  }
  return rounds;
}
