/** Which members a configuration needs, said apart from the code that decides by it. */
import type { MemberId } from '../../../src/base/index.ts';
import type { Configuration } from '../../../src/raft/index.ts';
import { decide } from './majority.ts';
import type { SimMember } from './member.ts';

/** The voters who decide: of the new half and, while there are two, of the old one. */
function halves({ members, outgoing }: Configuration): readonly (readonly MemberId[])[] {
  const voters = members.filter(({ role }) => role === 'voter').map(({ id }) => id);
  return outgoing.length > 0 ? [voters, outgoing] : [voters];
}

/** Tells whether these members are a majority of every half of every configuration. */
export function carries(configurations: readonly Configuration[], ids: readonly MemberId[]): boolean {
  return configurations.every((configuration) => decide(ids, configuration));
}

/** What some running member holds to be in force, and what it knows to be committed. */
export function relevant(members: readonly SimMember[]): readonly Configuration[] {
  const found = new Map<number, Configuration>();
  for (const { running } of members) {
    if (running === undefined) continue;
    const { core } = running.driver;
    for (const one of [core.configuration, core.configurationAt(core.commitIndex)]) found.set(one.index, one);
  }
  // Whatever came before the newest that is committed has been left by a majority.
  const committed = Math.max(0, ...members.map(({ running }) => committedOf(running)));
  return [...found.values()].filter(({ index }) => index >= committed);
}

function committedOf(running: SimMember['running']): number {
  if (running === undefined) return 0;
  const { core } = running.driver;
  return core.configurationAt(core.commitIndex).index;
}

/** Ids only grow, and voters change by one or through two halves. Returns what is wrong, if anything. */
export function wrongSuccessor(before: Configuration, next: Configuration): string | undefined {
  const known = new Set(before.members.map(({ id }) => id));
  const reused = next.members.some(({ id }) => !known.has(id) && id < before.nextMemberId);
  if (reused || next.nextMemberId < before.nextMemberId) return `entry ${next.index} gives an id again`;
  if (before.outgoing.length > 0 || next.outgoing.length > 0) return undefined;
  const [old = [], now = []] = [halves(before)[0], halves(next)[0]];
  const changed = old.filter((id) => !now.includes(id)).length + now.filter((id) => !old.includes(id)).length;
  return changed > 1 ? `entry ${next.index} changes ${changed} voters at once` : undefined;
}
