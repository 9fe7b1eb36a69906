/**
 * How a node comes to belong to a cluster (design section 3). A cluster begins once, by hand: whichever
 * coordinator is asked, the first of them by peer address runs the init, so that two at once cannot make two
 * clusters. It chooses a random cluster id, asks each other coordinator who it is and whether it may be
 * admitted, admits each, and writes its own identity last. What it intends is on disk before the first other
 * is admitted, so that an init that was interrupted can be given again, to any of them, and ends with the
 * same cluster; a node without an identity never starts consensus and so never votes. Later members join
 * (join.ts).
 */
import { randomBytes } from 'node:crypto';
import {
  TidemarkError,
  clusterId,
  failpoint,
  isTidemarkError,
  memberId,
  must,
  mutated,
  type MemberId,
} from '../../base/index.ts';
import type { Logger } from '../../ops/index.ts';
import type { Member } from '../../raft/index.ts';
import type { AdmitReply, AdmitRequest, Credentials, InitReply, InitRequest } from '../../wire/index.ts';
import { INIT_FORMAT, type JoinReply, type JoinRequest } from '../../wire/index.ts';
import { askStatus, sendAdmit, sendInit, type CoordinatorAnswer } from './ask-coordinator.ts';
import type { ExpectedMember } from './data-folder.ts';
import { checkFormat } from '../grpc-server.ts';
import { alreadyInitialised, checkAddresses, joinCluster, readMembers } from './join.ts';
import { PENDING_FILE, readIdentity, removePending, writeIdentity, type Identity } from './identity.ts';
import { safeNumber } from '../safe-number.ts';

const NEW = { joined: false, started: false, removed: false } as const;
export const CLUSTER_SIZES: readonly number[] = [1, 3, 5, 7];

export interface InitialiserOptions {
  readonly folder: string;
  readonly own: () => ExpectedMember;
  readonly credentials: Credentials;
  readonly log: Logger;
  /** The identity that this node has already; undefined while it has none. */
  readonly identity: () => Identity | undefined;
  /** Called once, after the identity is durable; starts consensus. */
  readonly begin: (identity: Identity) => Promise<void>;
}

type CheckCaller = (member: MemberId) => void;

export interface Initialiser {
  /**
   * @throws TidemarkError `ALREADY_INITIALIZED`, `BAD_REQUEST`, `MEMBER_MISMATCH`,
   * `MEMBERSHIP_CHANGE_PENDING`, or what another node answered.
   */
  init(request: InitRequest): Promise<InitReply>;
  /**
   * @param checkCaller throws unless the call comes from that member: the one that runs the init
   * @throws TidemarkError `ALREADY_INITIALIZED`, `MEMBER_MISMATCH`, `BAD_REQUEST`, `UNAUTHORIZED`,
   * `MEMBERSHIP_CHANGE_PENDING` while an init or another admission runs here.
   */
  admit(request: AdmitRequest, checkCaller: CheckCaller): Promise<AdmitReply>;
  /** @throws TidemarkError as {@link admit}. */
  join(request: JoinRequest): Promise<JoinReply>;
}

export function createInitialiser(options: InitialiserOptions): Initialiser {
  const asking = oneAtATime('an init');
  const changing = oneAtATime('an init or an admission');
  return {
    init: (request) => asking(() => init(options, request, changing)),
    admit: (request, checkCaller) => changing(() => admit(options, request, checkCaller)),
    join: (request) => changing(() => joinCluster(options, request)),
  };
}

type Exclusively = <T>(work: () => Promise<T>) => Promise<T>;

/** Refuses at once instead of queueing: who waited might be gone, and its work be done all the same. */
function oneAtATime(what: string): Exclusively {
  let running = false;
  return async (work) => {
    if (running && !mutated('coordinator.admitsDuringInit')) {
      throw new TidemarkError('MEMBERSHIP_CHANGE_PENDING', `${what} is under way at this coordinator`, {
        next: 'Give the command again in some seconds.',
      });
    }
    running = true;
    try {
      return await work();
    } finally {
      running = false;
    }
  };
}

async function init(
  options: InitialiserOptions,
  request: InitRequest,
  exclusively: Exclusively,
): Promise<InitReply> {
  checkFormat(request.format, INIT_FORMAT, 'the init request');
  const existing = options.identity();
  const first =
    existing === undefined
      ? firstOf((await askAll(options, request.clientAddresses)).map(({ status }) => status))
      : await unfinished(options, existing);
  if (first.peerAddress !== options.own().peerAddress && !mutated('coordinator.initNotArbitrated')) {
    return sendInit(options.credentials, first.clientAddress, request);
  }
  return exclusively(() => runInit(options, request));
}

/** Returns the coordinator that begins the cluster: whoever is asked comes to the same one. */
function firstOf<M extends ExpectedMember>(members: readonly M[]): M {
  return must(byAddress(members)[0], 'one coordinator at least');
}

function byAddress<M extends ExpectedMember>(members: readonly M[]): M[] {
  return [...members].sort((one, other) => (one.peerAddress < other.peerAddress ? -1 : 1));
}

/**
 * Returns who began this node's cluster, if that one has not become a member itself yet.
 * @throws TidemarkError `ALREADY_INITIALIZED` else.
 */
async function unfinished(options: InitialiserOptions, existing: Identity): Promise<ExpectedMember> {
  const first = firstOf(existing.members);
  const done = alreadyInitialised('this coordinator', existing.clusterId);
  if (existing.joined || first.id === existing.memberId) throw done;
  const { status } = await askStatus(options.credentials, first.clientAddress).catch((error: unknown) => {
    throw isTidemarkError(error) ? done : error;
  });
  if (status.clusterId !== '') throw done;
  return first;
}

async function runInit(options: InitialiserOptions, request: InitRequest): Promise<InitReply> {
  const answers = await askAll(options, request.clientAddresses);
  const plan = await makePlan(options, answers);
  for (const { asked, status } of answers) refuseForeign(asked, status.clusterId, plan.clusterId);
  const others = byAddress(plan.members).filter(({ id }) => id !== plan.memberId);
  // One that cannot be admitted would leave half a cluster.
  if (!mutated('coordinator.admitsUnchecked')) {
    await Promise.all(others.map((member) => checkAdmission(options, member, plan)));
  }
  await writeIdentity(options.folder, plan, PENDING_FILE);
  if (mutated('coordinator.identityBeforeAdmission')) await becomeMember(options, plan);
  for (const member of others) {
    await failpoint('coordinator.beforeAdmit', { member: String(member.id) });
    await sendAdmit(options.credentials, member, { ...plan, checkOnly: false });
    options.log.info({ member: member.id, peerAddress: member.peerAddress }, 'admitted');
  }
  await becomeMember(options, plan);
  return {
    clusterId: plan.clusterId,
    members: plan.members.map(({ id, peerAddress, clientAddress }) => ({
      memberId: BigInt(id),
      peerAddress,
      clientAddress,
    })),
  };
}

/** Asks a coordinator, under the id that it is to have, whether it may be admitted. */
async function checkAdmission(options: InitialiserOptions, member: Member, plan: Identity): Promise<void> {
  try {
    await sendAdmit(options.credentials, member, { ...plan, checkOnly: true });
  } catch (error) {
    if (!isTidemarkError(error, 'TLS_REFUSED', 'UNAUTHORIZED')) throw error;
    const text = `member ${member.id} at ${member.peerAddress}: ${error.message}`;
    throw new TidemarkError(error.code, text, {
      next: 'Name the endpoints in the order of the member ids in their peer certificates.',
      cause: error,
    });
  }
}

async function becomeMember(options: InitialiserOptions, plan: Identity): Promise<void> {
  await writeIdentity(options.folder, plan);
  await removePending(options.folder);
  await options.begin(plan);
}

async function admit(
  options: InitialiserOptions,
  request: AdmitRequest,
  checkCaller: CheckCaller,
): Promise<AdmitReply> {
  checkFormat(request.format, INIT_FORMAT, 'the admit request');
  const identity = readAdmission(request);
  if (!mutated('coordinator.admitsForAnyone')) checkCaller(firstOf(identity.members).id);
  checkAddresses(identity, options.own());
  const existing = options.identity();
  if (existing !== undefined) {
    if (sameIdentity(existing, identity)) return { format: INIT_FORMAT };
    throw alreadyInitialised(`the coordinator at ${options.own().clientAddress}`, existing.clusterId);
  }
  if (request.checkOnly) return { format: INIT_FORMAT };
  await becomeMember(options, identity);
  return { format: INIT_FORMAT };
}

/** Asks each address who answers there; all must, before anything is changed anywhere. */
async function askAll(
  options: InitialiserOptions,
  addresses: readonly string[],
): Promise<CoordinatorAnswer[]> {
  if (!CLUSTER_SIZES.includes(addresses.length)) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `a cluster has 1, 3, 5 or 7 coordinators, not ${addresses.length}`,
    );
  }
  const answers = await Promise.all(addresses.map((address) => askStatus(options.credentials, address)));
  const seen = new Map<string, string>();
  for (const { asked, status } of answers) {
    const other = seen.get(status.peerAddress);
    if (other !== undefined) {
      throw new TidemarkError('BAD_REQUEST', `${other} and ${asked} are the same coordinator`);
    }
    seen.set(status.peerAddress, asked);
  }
  if (!seen.has(options.own().peerAddress)) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `the coordinator asked (${options.own().clientAddress}) is not among ${addresses.join(', ')}`,
      { next: 'Send init to one of the coordinators that it names.' },
    );
  }
  return answers;
}

/**
 * The plan of an interrupted init is taken up again if it was for the same coordinators in the same order,
 * or in any order once one of them was admitted; else a new one is made.
 */
async function makePlan(
  options: InitialiserOptions,
  answers: readonly CoordinatorAnswer[],
): Promise<Identity> {
  const pending = await readIdentity(options.folder, PENDING_FILE);
  const members: Member[] = answers.map(({ status }, position) => ({
    id: memberId(position + 1),
    peerAddress: status.peerAddress,
    clientAddress: status.clientAddress,
  }));
  if (pending !== undefined) {
    const same = begun(pending, answers) ? sameAddresses : sameMembers;
    if (same(pending.members, members)) return pending;
  }
  const own = members.findIndex((member) => member.peerAddress === options.own().peerAddress);
  const id = clusterId(randomBytes(16).toString('hex'));
  return { ...NEW, clusterId: id, memberId: memberId(own + 1), members };
}

function begun({ clusterId: planned }: Identity, answers: readonly CoordinatorAnswer[]): boolean {
  return (
    mutated('coordinator.planOfOtherOrder') || answers.some(({ status }) => status.clusterId === planned)
  );
}

function refuseForeign(asked: string, found: string, planned: string): void {
  if (found !== '' && found !== planned) throw alreadyInitialised(`the coordinator at ${asked}`, found);
}

function readAdmission(request: AdmitRequest): Identity {
  const text = request.clusterId;
  if (!/^[0-9a-f]{32}$/.test(text) || !CLUSTER_SIZES.includes(request.members.length)) {
    throw new TidemarkError('BAD_REQUEST', 'the admission names no cluster id or no valid list of members');
  }
  return {
    ...NEW,
    clusterId: clusterId(text),
    memberId: memberId(safeNumber(request.memberId, 'member id')),
    members: readMembers(request.members),
  };
}

function sameIdentity(one: Identity, other: Identity): boolean {
  return (
    one.clusterId === other.clusterId &&
    one.memberId === other.memberId &&
    sameMembers(one.members, other.members)
  );
}

/** True if each address has the same id in both. */
function sameMembers(one: readonly Member[], other: readonly Member[]): boolean {
  return sameAddresses(one, other) && byAddress(one).every(({ id }, at) => byAddress(other)[at]?.id === id);
}

function sameAddresses(one: readonly Member[], other: readonly Member[]): boolean {
  const texts = (members: readonly Member[]): string =>
    byAddress(members)
      .map((member) => `${member.peerAddress} ${member.clientAddress}`)
      .join('\n');
  return texts(one) === texts(other);
}
