/**
 * Changes of the members, on the leader: asked for by `cluster add`, `promote`, `replace` and `remove`. Each
 * may be given again after whatever came of it: what was done already is left as it is, what was interrupted
 * is finished, an add maybe under another id. Consensus decides whether a change is safe; this file brings
 * the new node to it.
 */
import {
  LIMITS,
  TidemarkError,
  failpoint,
  formatAddress,
  isTidemarkError,
  memberId,
  mutated,
  parseAddress,
  type ClusterId,
  type MemberId,
} from '../../base/index.ts';
import type { Logger } from '../../ops/index.ts';
import type {
  Configuration,
  ConfiguredMember,
  FollowerStatus,
  Member,
  MembershipChange,
  RaftNode,
} from '../../raft/index.ts';
import type { AddMemberRequest, Credentials, MembershipReply, StatusReply } from '../../wire/index.ts';
import type { PromoteMemberRequest, RemoveMemberRequest } from '../../wire/index.ts';
import { askStatus, sendJoin } from './ask-coordinator.ts';
import { notLeader } from '../coded-error.ts';
import { checkFormat } from '../grpc-server.ts';
import {
  folderLost,
  isGone,
  needsNewId,
  notAdmitted,
  reached,
  sameMember,
  taken,
  unknownMember,
} from './member-refusals.ts';
import { safeNumber } from '../safe-number.ts';

const FORMAT = 1;
const SILENT_MS = LIMITS.raftTickMs * LIMITS.raftElectionTicks;

export interface MembershipOptions {
  readonly clusterId: ClusterId;
  readonly raft: Pick<RaftNode, 'status' | 'readIndex' | 'changeMembership' | 'transferLeadership'>;
  readonly credentials: Credentials;
  readonly log: Logger;
}

type Addresses = Omit<Member, 'id'>;

export class Membership {
  readonly #options: MembershipOptions;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /**
   * Makes the coordinator at these addresses a learner.
   *
   * @throws TidemarkError `MEMBER_UNREACHABLE`, `MEMBER_MISMATCH`, `ALREADY_INITIALIZED`, `MEMBER_EXISTS`,
   * `MEMBER_UNKNOWN`, `MEMBERSHIP_UNSAFE`, `BAD_REQUEST`, or what consensus refuses with.
   */
  async add(request: AddMemberRequest): Promise<MembershipReply> {
    checkFormat(request.format, FORMAT, 'the request to add a member');
    const wanted = {
      peerAddress: dialled(request.peerAddress, 'peer address'),
      clientAddress: dialled(request.clientAddress, 'client address'),
    };
    const replaced = memberId(safeNumber(request.replaces, 'replaced member id'));
    return this.#inTurn((configuration) => {
      if (replaced !== 0) isGone(configuration, replaced);
      const known = sameMember(configuration, wanted);
      return known === undefined ? this.#addNew(configuration, wanted) : this.#addAgain(configuration, known);
    });
  }

  /** Makes a learner a voter; `replaces` goes in the same step. @throws TidemarkError as {@link add}. */
  async promote(request: PromoteMemberRequest): Promise<MembershipReply> {
    checkFormat(request.format, FORMAT, 'the request to promote a member');
    const id = memberId(safeNumber(request.memberId, 'member id'));
    const replaced = memberId(safeNumber(request.replaces, 'replaced member id'));
    return this.#inTurn(async (configuration) => {
      const member = configuration.members.find((one) => one.id === id);
      if (member === undefined) throw unknownMember(configuration, id);
      const remove = replaced === 0 || isGone(configuration, replaced) ? [] : [replaced];
      const promote = member.role === 'voter' ? [] : [id];
      if (promote.length + remove.length === 0) return reply(configuration, id, false);
      return this.#changeOrLeave(configuration, { promote, remove }, id);
    });
  }

  /** Takes a member out. @throws TidemarkError as {@link add}. */
  async remove(request: RemoveMemberRequest): Promise<MembershipReply> {
    checkFormat(request.format, FORMAT, 'the request to remove a member');
    const id = memberId(safeNumber(request.memberId, 'member id'));
    return this.#inTurn(async (configuration) => {
      if (isGone(configuration, id)) return reply(configuration, id, false);
      return this.#changeOrLeave(configuration, { remove: [id] }, id);
    });
  }

  /** One at a time, on a leader that has just proved itself: its configuration is the cluster's. */
  #inTurn(work: (configuration: Configuration) => Promise<MembershipReply>): Promise<MembershipReply> {
    const { raft } = this.#options;
    const result = this.#running.then(async () => {
      await raft.readIndex();
      return work(raft.status().configuration);
    });
    // The caller gets the failure from `result`; the next in line only waits for the end of this one.
    this.#running = result.catch(() => undefined);
    return result;
  }

  /**
   * The node is asked before the change is in the log: one that cannot be reached changes nothing. `instead`
   * goes first, if the node was a learner before.
   */
  async #addNew(
    configuration: Configuration,
    wanted: Addresses,
    instead?: MemberId,
  ): Promise<MembershipReply> {
    const id = configuration.nextMemberId;
    const member = { id, ...wanted };
    if (!mutated('coordinator.addWithoutAsking')) {
      const status = await this.#ask(wanted);
      if (status.clusterId !== '') throw taken(status, this.#options.clusterId);
      await this.#join(configuration, member, { checkOnly: true }).catch((error: unknown) => {
        throw instead === undefined ? error : needsNewId(instead, id, error);
      });
    }
    const before =
      instead === undefined ? configuration : await this.#change(configuration, { remove: [instead] });
    const now = await this.#change(before, { add: [wanted] });
    try {
      await failpoint('coordinator.beforeJoin', { member: String(id) });
      await this.#join(now, member, { checkOnly: false });
    } catch (error) {
      throw notAdmitted(id, now.nextMemberId, error);
    }
    return reply(now, id, true);
  }

  /**
   * An add that was interrupted after its commit left a learner that nobody has told yet. One that was told
   * and lost its folder looks the same: nobody can say that it acknowledged nothing, so it gets a new id.
   */
  async #addAgain(configuration: Configuration, known: ConfiguredMember): Promise<MembershipReply> {
    const { clusterId } = this.#options;
    const status = await this.#ask(known);
    if (status.clusterId === clusterId && status.memberId === BigInt(known.id))
      return reply(configuration, known.id, false);
    if (status.clusterId !== '') throw taken(status, clusterId);
    if (mutated('coordinator.wipedMemberReadmitted')) {
      await this.#join(configuration, known, { checkOnly: false });
      return reply(configuration, known.id, true);
    }
    if (known.role === 'voter') throw folderLost(known);
    const { peerAddress, clientAddress } = known;
    return this.#addNew(configuration, { peerAddress, clientAddress }, known.id);
  }

  /**
   * A leader that is to go hands over first, so that nobody waits for an election; the caller is sent to the
   * next leader. One that has nobody to hand over to goes on: consensus decides. What would be refused is
   * refused before.
   */
  async #changeOrLeave(
    configuration: Configuration,
    change: MembershipChange,
    id: MemberId,
  ): Promise<MembershipReply> {
    const { raft } = this.#options;
    const own = raft.status().memberId;
    const others = configuration.members.filter((member) => member.role === 'voter' && member.id !== own);
    if (change.remove?.includes(own) !== true || others.length === 0) {
      return reply(await this.#change(configuration, change), id, true);
    }
    if (!mutated('coordinator.handsOverUnchecked')) {
      await this.#ofConsensus({ ...change, expected: configuration.index, checkOnly: true });
    }
    await raft.transferLeadership();
    throw notLeader(raft.status());
  }

  async #change(configuration: Configuration, change: MembershipChange): Promise<Configuration> {
    const { log } = this.#options;
    const now = await this.#ofConsensus({ ...change, expected: configuration.index });
    const members = now.members.map((member) => `${member.id} ${member.role}`);
    log.info({ configuration: now.index, members }, 'the members have changed');
    return now;
  }

  /** Adds to a refusal how far the learner is: whoever waits for it wants to see that it comes nearer. */
  async #ofConsensus(change: MembershipChange): Promise<Configuration> {
    const { raft } = this.#options;
    try {
      return await raft.changeMembership(change);
    } catch (error) {
      const learner = raft.status().followers.find(({ id }) => change.promote?.includes(id) === true);
      if (learner === undefined || !isTidemarkError(error, 'LEARNER_BEHIND')) throw error;
      throw new TidemarkError('LEARNER_BEHIND', `member ${learner.id} ${progressOf(learner)}`, {
        next: 'Wait until it has caught up, and give the command again.',
        details: { lag: String(learner.lag), replication: learner.state },
        cause: error,
      });
    }
  }

  async #ask({ peerAddress, clientAddress }: Addresses): Promise<StatusReply> {
    const { status } = await reached(clientAddress, askStatus(this.#options.credentials, clientAddress));
    if (status.peerAddress === peerAddress && status.clientAddress === clientAddress) return status;
    throw new TidemarkError(
      'MEMBER_MISMATCH',
      `the coordinator at ${clientAddress} serves peers at ${status.peerAddress} and clients at ` +
        `${status.clientAddress}; asked for were ${peerAddress} and ${clientAddress}`,
      { next: 'Give both addresses as that coordinator advertises them.' },
    );
  }

  async #join(
    { members }: Configuration,
    member: Member,
    { checkOnly }: { readonly checkOnly: boolean },
  ): Promise<void> {
    const { clusterId, credentials } = this.#options;
    const others = members.filter(({ id }) => id !== member.id);
    const cluster = { clusterId, members: [...others, member], checkOnly };
    await reached(member.peerAddress, sendJoin(credentials, member, cluster));
  }
}

function progressOf({ state, lag, silentMs, match }: FollowerStatus): string {
  if (silentMs > SILENT_MS) return `was not heard for ${Math.round(silentMs)} ms`;
  if (state === 'snapshot') return 'is being sent the state';
  if (match === 0) return 'holds nothing yet';
  return state === 'probe' ? `is being compared, and lacks ${lag} entries` : `lacks ${lag} entries`;
}

function reply(configuration: Configuration, id: MemberId, changed: boolean): MembershipReply {
  return {
    format: FORMAT,
    memberId: BigInt(id),
    changed,
    configurationIndex: BigInt(configuration.index),
    members: configuration.members.map((member) => ({
      memberId: BigInt(member.id),
      peerAddress: member.peerAddress,
      clientAddress: member.clientAddress,
    })),
  };
}

/** @throws TidemarkError `BAD_REQUEST`. */
function dialled(text: string, what: string): string {
  try {
    const address = parseAddress(text, what);
    if (address.port > 0 && text.length <= LIMITS.addressLengthMax) return formatAddress(address);
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    throw new TidemarkError('BAD_REQUEST', error.message, { cause: error });
  }
  throw new TidemarkError('BAD_REQUEST', `${what}: ${text} cannot be dialled`);
}
