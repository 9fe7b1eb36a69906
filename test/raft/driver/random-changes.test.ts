import { expect, test } from 'vitest';
import { isTidemarkError, logIndex, must } from '../../../src/base/index.ts';
import type { Configuration, MembershipChange } from '../../../src/raft/index.ts';
import { Chance } from '../simulation/loop.ts';
import { memberOf } from '../support/membership.ts';
import { SHORT_LOGS, SmallCluster, type SmallMember } from '../support/small-cluster.ts';

/** `TIDEMARK_CHANGE_SEEDS=100` searches on. */
const SEEDS = Number(process.env['TIDEMARK_CHANGE_SEEDS'] ?? 3);
const STEPS = 150;
const HEAL_MS = 60_000;

/** A cluster whose members change at random while machines lose their power and links their frames. */
class Changing {
  readonly #chance: Chance;
  readonly #cluster: SmallCluster;
  readonly #cuts = new Set<string>();
  readonly #leaders = new Map<number, number>();
  readonly #committed = new Map<number, number | undefined>();
  readonly #acknowledged: string[] = [];
  #joining: number[] = [];
  #written = 0;
  changes = 0;

  constructor(seed: number) {
    this.#chance = new Chance(seed);
    this.#cluster = new SmallCluster(this.#chance.between(1, 4), SHORT_LOGS);
    this.#cluster.loses = (from, to) => this.#cuts.has(`${from}>${to}`) || this.#chance.hits(0.02);
  }

  async run(): Promise<void> {
    await this.#cluster.startAll();
    for (let step = 0; step < STEPS; step++) {
      await this.#step(this.#chance.between(0, 99));
      await this.#cluster.advance(this.#chance.between(5, 200));
      for (const id of this.#joining.splice(0)) {
        if (!this.#cluster.members.some((member) => member.id === id)) await this.#cluster.join(id);
      }
      this.#look();
    }
    await this.#mustAgree();
  }

  async #step(kind: number): Promise<void> {
    const { members } = this.#cluster;
    const running = members.filter(({ driver }) => driver !== undefined);
    const one = this.#chance.pick(members);
    if (kind < 4 && one.driver !== undefined && running.length > 1) this.#cluster.crash(one);
    else if (kind < 16) for (const member of members) await this.#start(member);
    else if (kind < 20) this.#cuts.add(`${one.id}>${this.#chance.pick(members).id}`);
    else if (kind < 22)
      for (const { id } of members) this.#cuts.add(`${id}>${one.id}`).add(`${one.id}>${id}`);
    else if (kind < 30) this.#cuts.clear();
    else for (const member of running) this.#ask(member, kind < 60);
  }

  async #start(member: SmallMember): Promise<void> {
    if (member.driver === undefined) await this.#cluster.start(member);
  }

  /** Whoever believes that it leads is asked to write, or to change the members. */
  #ask({ driver }: SmallMember, write: boolean): void {
    if (driver?.core.role !== 'leader') return;
    const refused = (error: unknown): void => {
      if (!isTidemarkError(error)) throw error;
    };
    if (write) {
      const text = `t${this.#written++}`;
      driver.propose(Buffer.from(text)).then(() => this.#acknowledged.push(text), refused);
      return;
    }
    const { configuration } = driver.status();
    const next = configuration.nextMemberId;
    driver.changeMembership(this.#change(configuration)).then(({ members }) => {
      this.changes++;
      if (members.some(({ id }) => id === next)) this.#joining.push(next);
    }, refused);
  }

  #change({ members, nextMemberId }: Configuration): MembershipChange {
    const idsOf = (role: string) => members.flatMap((one) => (one.role === role ? [one.id] : []));
    const learners = idsOf('learner');
    const voter = idsOf('voter').slice(0, 1);
    const { id: _id, ...machine } = memberOf(nextMemberId);
    const changes: MembershipChange[] = [
      { add: members.length < 6 ? [machine] : [] },
      { promote: learners },
      { remove: this.#chance.hits(0.6) ? voter : learners.slice(0, 1) },
      { promote: learners, remove: voter },
    ];
    return this.#chance.pick(changes);
  }

  /** One leader a term, one entry an index, states that are each other's beginnings. */
  #look(): void {
    const { members } = this.#cluster;
    for (const { id, driver } of members) {
      if (driver === undefined) continue;
      const { role, term, baseIndex, commitIndex } = driver.core;
      if (role === 'leader') expect(this.#leaders.get(term) ?? id, `leader of term ${term}`).toBe(id);
      if (role === 'leader') this.#leaders.set(term, id);
      for (let index = baseIndex + 1; index <= commitIndex; index++) {
        const found = driver.core.termAt(logIndex(index));
        expect(this.#committed.get(index) ?? found, `entry ${index}`).toBe(found);
        this.#committed.set(index, found);
      }
    }
    const states = members.map(({ state }) => state.texts).sort((left, right) => left.length - right.length);
    for (const texts of states) expect(states.at(-1)?.slice(0, texts.length)).toEqual(texts);
  }

  /** When all is whole again the cluster writes, its members come to one state, and nothing was lost. */
  async #mustAgree(): Promise<void> {
    const cluster = this.#cluster;
    cluster.loses = () => false;
    for (const member of cluster.members) await this.#start(member);
    await cluster.write(1);
    await cluster.until(() => {
      const leader = cluster.leader();
      const ids = leader?.driver?.status().members.map(({ id }) => id) ?? [];
      const states = cluster.members.flatMap(({ id, state }) =>
        ids.includes(id) ? [state.texts.length] : [],
      );
      return states.length === ids.length && new Set(states).size === 1;
    }, HEAL_MS);
    this.#look();
    const { state } = must(cluster.leader(), 'a leader');
    for (const text of this.#acknowledged) expect(state.texts).toContain(text);
  }
}

test(
  'members that change at random lose nothing, and go on once all is whole',
  { timeout: 600_000 },
  async () => {
    let changes = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const changing = new Changing(seed);
      await changing.run();
      changes += changing.changes;
    }
    expect(changes).toBeGreaterThan(5 * SEEDS);
  },
);
