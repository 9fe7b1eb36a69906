/**
 * What the members of a restored cluster must have in common, although each is restored on a machine of its
 * own: cluster id, term and list. Whoever is restored first chooses; the others are given its restore id,
 * which names all of it and the file. (etcd makes the cluster id of the list and a word of the operator's:
 * the same word twice is the same cluster twice.)
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  TERM_MAX,
  TidemarkError,
  clusterId,
  memberId,
  mutated,
  systemClock,
  term,
  type ClusterId,
  type Term,
} from '../../base/index.ts';
import type { CheckedSnapshot } from '../../backup/index.ts';
import type { Member } from '../../raft/index.ts';
import type { ExpectedMember } from '../members/data-folder.ts';
import { CLUSTER_SIZES } from '../members/initialise.ts';

/** Elections that an old cluster may have held after a backup. */
const TERMS_SKIPPED = 4_096;
/** A cluster that elects every minute since then is still below. */
const TERMS_SINCE_MS = Date.UTC(2026, 0, 1);

/** A new cluster as one of its members begins it. */
export interface NewCluster {
  readonly clusterId: ClusterId;
  /** Its terms are above this one. */
  readonly term: Term;
  readonly members: readonly Member[];
  readonly self: Member;
}

/**
 * Makes a cluster of one.
 * @throws TidemarkError `CONFIG_INVALID` (this machine's clock).
 */
export function newCluster(
  old: { readonly id: string; readonly usedTerm: number },
  own: ExpectedMember,
): NewCluster {
  const self = { id: memberId(1), ...own };
  return { ...chosen(old), members: [self], self };
}

export interface SharedPlan {
  readonly cluster: NewCluster;
  /** For the other members. */
  readonly restoreId: string;
}

/**
 * Makes a cluster of several members, or takes the one that `restoreId` names.
 * @throws TidemarkError `CONFIG_INVALID`: the list cannot be a cluster's or lacks this member, or the restore
 * id is of another file or list.
 */
export function sharedCluster(
  { header, sha256 }: Pick<CheckedSnapshot, 'header' | 'sha256'>,
  {
    own,
    members: listed,
    restoreId,
  }: {
    readonly own: ExpectedMember;
    readonly members: readonly ExpectedMember[];
    readonly restoreId: string | undefined;
  },
): SharedPlan {
  const members = listed.map((member, at) => ({ id: memberId(at + 1), ...member }));
  const self = members.find((member) => sameAddresses(member, own));
  checkList(members);
  if (self === undefined) {
    throw refused(`${own.peerAddress}/${own.clientAddress} is not among the members`, LIST_NEXT);
  }
  const check = checkOf(sha256, listed);
  const cluster =
    restoreId === undefined
      ? chosen({ id: header.clusterId, usedTerm: header.term })
      : named(restoreId, check);
  const { clusterId: id, term: at } = cluster;
  return { cluster: { ...cluster, members, self }, restoreId: `${id}-${at}-${check}` };
}

/**
 * Refuses a restore id where no list says which of its members this is: a cluster of one would be another.
 * @throws TidemarkError `CONFIG_INVALID`.
 */
export function refuseLoneRestoreId(): void {
  if (mutated('backup.restoreIdAlone')) return;
  throw refused('a restore id was given, and no list of members', LIST_NEXT);
}

const LIST_NEXT = 'Name all members as PEER/CLIENT, this one by its own addresses among them.';

function checkList(members: readonly Member[]): void {
  if (!CLUSTER_SIZES.includes(members.length)) {
    throw refused(`a cluster has ${CLUSTER_SIZES.join(', ')} members, not ${members.length}`, LIST_NEXT);
  }
  const addresses = members.flatMap(({ peerAddress, clientAddress }) => [peerAddress, clientAddress]);
  if (new Set(addresses).size < addresses.length) throw refused('two members have one address', LIST_NEXT);
}

function sameAddresses(one: ExpectedMember, other: ExpectedMember): boolean {
  return one.peerAddress === other.peerAddress && one.clientAddress === other.clientAddress;
}

type Chosen = Pick<NewCluster, 'clusterId' | 'term'>;

function chosen({ id, usedTerm }: { readonly id: string; readonly usedTerm: number }): Chosen {
  const fresh = mutated('backup.clusterIdKept') ? id : randomBytes(16).toString('hex');
  return { clusterId: clusterId(fresh), term: termAbove(usedTerm) };
}

function named(restoreId: string, check: string): Chosen {
  const [, id, at, found] = /^([0-9a-f]{32})-(\d{1,7})-([0-9a-f]{12})$/.exec(restoreId) ?? [];
  if (id === undefined || at === undefined) {
    throw refused(`${restoreId} is no restore id`, 'Copy it from what the first restore printed.');
  }
  if (found !== check && !mutated('backup.restoreIdUnchecked')) {
    const text = 'the restore id was made for another file or another list of members';
    throw refused(text, 'Give every member the same file and the same list, in the same order.');
  }
  return { clusterId: clusterId(id), term: term(Number(at)) };
}

/**
 * Short, and enough to tell a mistake: nobody forges it. Two backups of one state are two files: the time at
 * which each was saved is in the first entry.
 */
function checkOf(sha256: string, members: readonly ExpectedMember[]): string {
  const file = mutated('backup.restoreIdOfAnyFile') ? '' : sha256;
  const list = members.map(({ peerAddress, clientAddress }) => [peerAddress, clientAddress]);
  return createHash('sha256')
    .update(JSON.stringify([file, list]))
    .digest('hex')
    .slice(0, 12);
}

/** Fencing tokens begin with the term: the new cluster's are above all that the old one can have given. */
function termAbove(used: number): Term {
  const sinceMs = systemClock.wallMs() - TERMS_SINCE_MS;
  const raised = Math.max(used + TERMS_SKIPPED, Math.floor(sinceMs / 60_000));
  if (raised >= TERM_MAX) {
    throw refused(
      `term ${raised} would be beyond the last one, ${TERM_MAX}`,
      'Set the clock of this machine.',
    );
  }
  return term(mutated('backup.termNotRaised') ? used : raised);
}

function refused(text: string, next: string): TidemarkError {
  return new TidemarkError('CONFIG_INVALID', text, { next });
}
