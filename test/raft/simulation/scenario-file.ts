/**
 * Scenarios as text: commands, a line `----`, and what came of them. A reader follows the story; a test runs
 * the commands again and compares. Times are virtual milliseconds.
 *
 *   nodes N spares S         a cluster of N, started, and S machines that may join it, with the next ids
 *   nodes N forgetful        a cluster of N whose logs lose their beginning after few entries
 *   elect ID                 waits for a leader, and hands the lead to this member
 *   hand ID > ID             asks this leader to hand over; nobody waits for its answer
 *   partition 1 2 | 3        blocks all links between the groups
 *   cut 1 > 2                blocks one direction
 *   heal                     all links work again
 *   add                      whoever leads adds the next spare machine as a learner
 *   promote ID.., remove ID.., replace OLD NEW
 *                            it changes the members, and the answer is waited for as for a write
 *   begin replace OLD NEW    the same without waiting
 *   write ID TEXT, read ID   asks this member, and waits 300 ms for its answer
 *   fill ID N                N writes, one after the other; the last answer is told
 *   ask ID TEXT              a write whose answer nobody waits for
 *   watch 1 2                says from now on which appends these two exchange, as they leave
 *   run MS                   time passes
 *   until-leader 1,2         time passes until one of these leads
 *   crash ID, start ID       power is lost at a member; it boots
 *   stall ID MS              its process stands still
 *   disk ID MS               its synced writes take so long from now on
 *   settle                   three seconds pass, then every member says where it is
 * An ID may be `leader`: whoever leads the latest term then.
 */
import { isTidemarkError, memberId, must } from '../../../src/base/index.ts';
import type { Configuration, MemberRole, MembershipChange } from '../../../src/raft/index.ts';
import type { Message } from '../../../src/raft/core/index.ts';
import { decodeFrame } from '../../../src/raft/peer-codec.ts';
import type { SimMember } from './member.ts';
import { Simulation, machine } from './simulation.ts';

const CHANGES = ['add', 'promote', 'remove', 'replace'];
const SEED = 1;
const ANSWER_MS = 300;
const LEADER_MS = 20_000;
const SETTLE_MS = 3_000;

/** Returns the file as it would be if all its results were right. */
export async function playScenario(text: string): Promise<string> {
  const play = new Play();
  const parts: string[] = [];
  for (const block of text.trimEnd().split('\n\n')) {
    const lines = block.split('\n');
    const end = lines.indexOf('----');
    const commands = end === -1 ? lines : lines.slice(0, end);
    for (const line of commands) if (!line.startsWith('#')) await play.command(line);
    const said = play.takeSaid();
    parts.push([...commands, ...(said.length > 0 ? ['----', ...said] : [])].join('\n'));
  }
  return `${parts.join('\n\n')}\n`;
}

class Play {
  #simulation: Simulation | undefined;
  #said: string[] = [];

  takeSaid(): readonly string[] {
    const said = this.#said;
    this.#said = [];
    return said;
  }

  async command(line: string): Promise<void> {
    const [name = '', ...words] = line.split(' ');
    const rest = words.join(' ');
    if (name === 'nodes') {
      const [size, , spares = 0] = words.map(Number);
      const tinyLogs = words[1] === 'forgetful';
      this.#simulation = new Simulation(SEED, size ?? 0, { tinyLimits: false, tinyLogs, spares });
      await this.#simulation.startAll();
      return;
    }
    const simulation = must(this.#simulation, 'nodes before anything else');
    const { network } = simulation;
    if (name === 'elect') await this.#elect(this.#member(words[0]));
    else if (name === 'hand') this.#hand(this.#member(words[0]), this.#member(words[2]));
    else if (name === 'partition') this.#partition(rest.split('|'));
    else if (name === 'cut') network.block(this.#member(words[0]).id, this.#member(words[2]).id);
    else if (name === 'heal') network.heal();
    else if (name === 'write') await this.#write(this.#member(words[0]), words.slice(1).join(' '));
    else if (name === 'fill') await this.#fill(this.#member(words[0]), Number(words[1]));
    else if (name === 'ask') this.#ask(this.#member(words[0]), words.slice(1).join(' '));
    else if (name === 'watch') this.#watch(words);
    else if (CHANGES.includes(name)) await this.#answer(line, this.#change(name, words));
    else if (name === 'begin') this.#begin(words);
    else if (name === 'read') await this.#read(this.#member(words[0]));
    else if (name === 'run') await simulation.advance(Number(rest));
    else if (name === 'until-leader') await this.#untilLeader(rest.split(','));
    else if (name === 'crash') simulation.crash(this.#member(rest));
    else if (name === 'start') await simulation.start(this.#member(rest));
    else if (name === 'stall') this.#member(words[0]).stall(Number(words[1]));
    else if (name === 'disk') this.#member(words[0]).diskMs = Number(words[1]);
    else if (name === 'settle') await this.#settle();
    else throw new Error(`no such command: ${line}`);
  }

  #member(id: string | undefined): SimMember {
    const simulation = must(this.#simulation, 'a cluster');
    if (id === 'leader') return leaderOf(simulation);
    return must(
      simulation.members.find((member) => String(member.id) === id),
      `member ${id ?? ''}`,
    );
  }

  async #elect(wanted: SimMember): Promise<void> {
    const simulation = must(this.#simulation, 'a cluster');
    await simulation.until(LEADER_MS, 'a leader', () => simulation.leader() !== undefined);
    const leader = must(simulation.leader()?.running, 'a leader').driver;
    if (simulation.leader() !== wanted) {
      // It ends for the old leader when the new one has committed: the story goes on meanwhile.
      leader.transferLeadership(wanted.id).catch((error: unknown) => {
        this.#say(`handing over to ${wanted.id}: ${String(error)}`);
      });
      await simulation.until(LEADER_MS, `member ${wanted.id} leads`, () => simulation.leader() === wanted);
    }
    this.#say(`${wanted.id} leads term ${wanted.running?.driver.core.term ?? 0}`);
  }

  #hand(from: SimMember, to: SimMember): void {
    const handed = must(from.running, 'a running member').driver.transferLeadership(to.id);
    const tell = (how: string) => {
      this.#say(`handing over from ${from.id} to ${to.id}: ${how}`);
    };
    handed.then(
      () => {
        tell('done');
      },
      (error: unknown) => {
        tell(isTidemarkError(error) ? error.code : String(error));
      },
    );
  }

  #partition(groups: readonly string[]): void {
    const { network, members } = must(this.#simulation, 'a cluster');
    const groupOf = (id: number): number =>
      groups.findIndex((group) => group.trim().split(' ').includes(String(id)));
    for (const { id: from } of members) {
      for (const { id: to } of members) if (groupOf(from) !== groupOf(to)) network.block(from, to);
    }
  }

  #write(member: SimMember, text: string): Promise<void> {
    const asked = must(member.running, 'a running member').driver.propose(Buffer.from(text));
    return this.#answer(
      `write ${text} at ${member.id}`,
      asked.then(({ index, term }) => `entry ${index} of term ${term}`),
    );
  }

  #change(name: string, words: readonly string[]): Promise<string> {
    const simulation = must(this.#simulation, 'a cluster');
    const leader = must(simulation.leader()?.running, 'a leader').driver;
    const ids = words.map((word) => memberId(Number(word)));
    const { nextMemberId } = leader.status().configuration;
    const change: Record<string, MembershipChange> = {
      add: { add: [machine(nextMemberId)] },
      promote: { promote: ids },
      remove: { remove: ids },
      replace: { remove: ids.slice(0, 1), promote: ids.slice(1) },
    };
    return leader.changeMembership(must(change[name], name)).then(membersOf);
  }

  #begin(what: readonly string[]): void {
    this.#change(what[0] ?? '', what.slice(1)).catch((error: unknown) => {
      this.#say(`${what.join(' ')}: ${isTidemarkError(error) ? error.code : String(error)}`);
    });
  }

  #ask(member: SimMember, text: string): void {
    const asked = must(member.running, 'a running member').driver.propose(Buffer.from(text));
    asked.catch((error: unknown) => {
      this.#say(`${text} at ${member.id}: ${isTidemarkError(error) ? error.code : String(error)}`);
    });
  }

  #watch(pair: readonly string[]): void {
    must(this.#simulation, 'a cluster').network.onWire((from, to, frame) => {
      if (!pair.includes(String(from)) || !pair.includes(String(to))) return;
      for (const message of decodeFrame(frame)) {
        const said = appendTold(message);
        if (said !== undefined) this.#say(`  ${from} > ${to} ${said}`);
      }
    });
  }

  async #fill(member: SimMember, count: number): Promise<void> {
    for (let at = 1; at <= count; at++) {
      const before = this.#said.length;
      await this.#write(member, `w${at}`);
      if (at < count) this.#said.length = before;
    }
  }

  #read(member: SimMember): Promise<void> {
    const asked = must(member.running, 'a running member').driver.readIndex();
    return this.#answer(
      `read at ${member.id}`,
      asked.then((index) => `as of entry ${index}`),
    );
  }

  /** An answer that takes longer is said when it comes. */
  async #answer(what: string, asked: Promise<string>): Promise<void> {
    const simulation = must(this.#simulation, 'a cluster');
    const state = { open: true, told: false };
    const tell = (answer: string): void => {
      state.open = false;
      this.#say(`${what}: ${state.told ? 'in the end ' : ''}${answer}`);
    };
    asked.then(tell, (error: unknown) => {
      tell(isTidemarkError(error) ? error.code : String(error));
    });
    const end = simulation.loop.nowMs + ANSWER_MS;
    while (state.open && simulation.loop.nowMs < end) await simulation.advance(10);
    if (!state.open) return;
    state.told = true;
    this.#say(`${what}: no answer yet`);
  }

  async #untilLeader(ids: readonly string[]): Promise<void> {
    const simulation = must(this.#simulation, 'a cluster');
    const leads = (): SimMember | undefined =>
      ids.map((id) => this.#member(id)).find(({ running }) => running?.driver.status().leading === true);
    const began = simulation.loop.nowMs;
    await simulation.until(LEADER_MS, `one of ${ids.join()} leads`, () => leads() !== undefined);
    const member = must(leads(), 'a leader');
    const waited = Math.round(simulation.loop.nowMs - began);
    this.#say(`${member.id} leads term ${member.running?.driver.core.term ?? 0} after ${waited} ms`);
  }

  async #settle(): Promise<void> {
    const simulation = must(this.#simulation, 'a cluster');
    await simulation.advance(SETTLE_MS);
    for (const { id, running } of simulation.members) {
      if (running === undefined) {
        this.#say(`${id} down`);
        continue;
      }
      const { role, term, commitIndex, lastIndex, baseIndex } = running.driver.core;
      const { configuration, removed } = running.driver.status();
      const forgot = baseIndex === 0 ? '' : ` forgot=${baseIndex}`;
      const members = simulation.spares === 0 ? '' : ` ${removed ? 'removed' : membersOf(configuration)}`;
      this.#say(`${id} ${role} term=${term} commit=${commitIndex} last=${lastIndex}${forgot}${members}`);
    }
  }

  #say(line: string): void {
    this.#said.push(line);
  }
}

/** The voters of a configuration, of both halves if it has two, and its learners. */
function membersOf({ members, outgoing }: Configuration): string {
  const ids = (wanted: MemberRole): string => {
    return members.flatMap(({ id, role }) => (role === wanted ? [id] : [])).join();
  };
  const leaving = outgoing.length === 0 ? '' : ` and ${outgoing.join()}`;
  const learners = ids('learner');
  return `voters=${ids('voter')}${leaving}${learners === '' ? '' : ` learners=${learners}`}`;
}

/** What an append or its answer says, in a few words; other messages are not told. */
function appendTold(message: Message): string | undefined {
  if (message.type === 'append') {
    const { prevIndex, entries } = message;
    if (entries.length === 0) return `has all up to ${prevIndex}?`;
    const last = prevIndex + entries.length;
    return entries.length === 1 ? `entry ${last}` : `entries ${prevIndex + 1} to ${last}`;
  }
  if (message.type !== 'append-reply') return undefined;
  if (message.accepted) return `has all up to ${message.index}`;
  return `lacks ${message.index}, maybe all after ${message.hintIndex}`;
}

/** Of two that believe that they lead the one of the later term. */
function leaderOf({ members }: Simulation): SimMember {
  const leading = members.filter(({ running }) => running?.driver.status().leading === true);
  const term = ({ running }: SimMember): number => running?.driver.core.term ?? 0;
  return must(leading.sort((left, right) => term(right) - term(left))[0], 'a leader');
}
