/** What the digests of several members say about the state of one of them (design section 4). */
import { mutated } from '../../base/index.ts';
import type { DigestAt } from '../../statemachine/index.ts';

/** What a member says of its state: its newest digest, and those at checkpoints before. */
export type DigestReport = readonly DigestAt[];

export type Verdict =
  /** No index at which two members are known to differ. */
  | { readonly kind: 'equal' }
  /** A majority of all voters holds another value than this member: its state is wrong. */
  | { readonly kind: 'wrong'; readonly index: number; readonly own: string; readonly theirs: string }
  /** This member holds the value of the majority; others do not. */
  | { readonly kind: 'others-wrong'; readonly index: number; readonly members: readonly number[] }
  /** Values differ and none is known to be held by a majority: nobody knows who is right. */
  | { readonly kind: 'split'; readonly index: number };

/** Only states of voters make a majority: a learner's may be anything, and must equal theirs. */
export interface Electorate {
  /** All voters, also those that said nothing. */
  readonly voters: number;
  /** Whether this member is one of them; `others` holds voters only. */
  readonly ownVotes: boolean;
}

/**
 * Compares at the newest index at which values differ. A difference stays: a state that is wrong at one index
 * is not trusted again because it is equal at a later one.
 */
export function judgeDigests(
  own: DigestReport,
  others: ReadonlyMap<number, DigestReport>,
  { voters, ownVotes }: Electorate,
): Verdict {
  for (const { index, digest } of [...own].sort((left, right) => right.index - left.index)) {
    const found = new Map<number, string>();
    for (const [member, report] of others) {
      const value = report.find((at) => at.index === index)?.digest;
      if (value !== undefined) found.set(member, value);
    }
    if ([...found.values()].every((value) => value === digest)) continue;
    const votes = ownVotes ? [digest, ...found.values()] : [...found.values()];
    const majority = votes.find((value, _at, all) => {
      return all.filter((other) => other === value).length * 2 > voters;
    });
    if (majority === undefined) return { kind: 'split', index };
    if (majority !== digest) return { kind: 'wrong', index, own: digest, theirs: majority };
    const members = [...found].flatMap(([member, value]) => (value === digest ? [] : [member]));
    return { kind: 'others-wrong', index, members };
  }
  return { kind: 'equal' };
}

/**
 * What holds after a round: nobody's silence ends a split. It ends when a majority of all voters is known to
 * hold one value at its index or a later one, or when this member turns out to be the one that is wrong.
 *
 * @param agreed what {@link agreedIndex} says of the same reports as `found`
 */
export function verdictAfter(before: Verdict, found: Verdict, agreed: number): Verdict {
  if (before.kind !== 'split' || found.kind === 'wrong') return found;
  if (found.kind === 'split') return found.index > before.index ? found : before;
  return agreed >= before.index || mutated('coordinator.splitForgotten') ? found : before;
}

/** Returns the newest index at which a majority of all voters holds the value of this member; else 0. */
export function agreedIndex(
  own: DigestReport,
  others: ReadonlyMap<number, DigestReport>,
  { voters, ownVotes }: Electorate,
): number {
  let agreed = 0;
  for (const { index, digest } of own) {
    const same = [...others.values()].filter((report) =>
      report.some((at) => at.index === index && at.digest === digest),
    );
    if ((same.length + (ownVotes ? 1 : 0)) * 2 > voters) agreed = Math.max(agreed, index);
  }
  return agreed;
}
