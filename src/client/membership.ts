/**
 * Changes of the members, asked of the leader until they are done. Each request may be repeated after
 * whatever came of it: the leader leaves alone what was done already, and finishes what was interrupted.
 */
import { LIMITS, TidemarkError, isTidemarkError, sleep, type ErrorCode } from '../base/index.ts';
import { ClientService, type MembershipReply } from '../wire/index.ts';
import { callLeader, type LeaderCall, type LeaderCallOptions } from './leader-call.ts';

/** Where a coordinator that belongs to no cluster yet is reached, as it advertises. */
export interface NewMember {
  readonly peerAddress: string;
  readonly clientAddress: string;
}

export interface MembershipWait {
  /** Milliseconds that the whole change may take. @default LIMITS.membershipDeadlineMs */
  readonly withinMs?: number | undefined;
  /** Told what is waited for, each time that it is another, at most once a second. */
  readonly onProgress?: (line: string) => void;
}

export interface MembershipClient {
  /**
   * Adds a coordinator: as a learner, and unless `learner` is set, once it has caught up, as a voter.
   *
   * @throws TidemarkError `MEMBER_UNREACHABLE`, `MEMBER_MISMATCH`, `ALREADY_INITIALIZED`, `MEMBER_EXISTS`,
   * `MEMBERSHIP_UNSAFE`: nothing was changed, unless the text says that it is a learner now: given again it
   * gets the next id, which a certificate of its own must name. `LEARNER_BEHIND`: it is a learner still.
   */
  add(member: NewMember, options?: MembershipWait & { readonly learner?: boolean }): Promise<MembershipReply>;
  /** Makes a learner a voter once it has caught up. @throws TidemarkError as {@link add}. */
  promote(memberId: number, options?: MembershipWait): Promise<MembershipReply>;
  /**
   * Adds a coordinator as a learner and, once it has caught up, puts it in the place of `memberId`, in one
   * step. @throws TidemarkError as {@link add}, `MEMBER_UNKNOWN`.
   */
  replace(memberId: number, member: NewMember, options?: MembershipWait): Promise<MembershipReply>;
  /** Takes a member out for ever. @throws TidemarkError `MEMBER_UNKNOWN`, `MEMBERSHIP_UNSAFE`. */
  remove(memberId: number, options?: MembershipWait): Promise<MembershipReply>;
}

const FORMAT = 1;
const PAUSE_MS = 100;
/** Progress is told at most this often. */
const TELL_MS = 1_000;

/** Codes that pass by themselves while a change is wanted; each call itself has waited for a leader. */
const PASSING: readonly ErrorCode[] = [
  'LEARNER_BEHIND',
  'MEMBERSHIP_CHANGE_PENDING',
  'MEMBERSHIP_CHANGED',
  'TRANSFER_FAILED',
  'OUTCOME_UNKNOWN',
];

export function createMembershipClient(options: LeaderCallOptions): MembershipClient {
  return new LeaderMembership(options);
}

class LeaderMembership implements MembershipClient {
  readonly #options: LeaderCallOptions;

  constructor(options: LeaderCallOptions) {
    this.#options = options;
  }

  async add(
    member: NewMember,
    { learner = false, ...wait }: MembershipWait & { readonly learner?: boolean } = {},
  ): Promise<MembershipReply> {
    const endsAt = this.#endOf(wait);
    const added = await this.#addLearner(member, 0n, wait, endsAt);
    return learner ? added : this.#promote(added.memberId, 0n, wait, endsAt);
  }

  promote(memberId: number, wait: MembershipWait = {}): Promise<MembershipReply> {
    return this.#promote(BigInt(memberId), 0n, wait, this.#endOf(wait));
  }

  async replace(memberId: number, member: NewMember, wait: MembershipWait = {}): Promise<MembershipReply> {
    const endsAt = this.#endOf(wait);
    const replaced = BigInt(memberId);
    const added = await this.#addLearner(member, replaced, wait, endsAt);
    return this.#promote(added.memberId, replaced, wait, endsAt);
  }

  remove(memberId: number, wait: MembershipWait = {}): Promise<MembershipReply> {
    return this.#untilDone(wait, this.#endOf(wait), {
      name: 'remove member',
      method: ClientService.removeMember,
      request: { format: FORMAT, memberId: BigInt(memberId) },
      kind: 'repeatable',
    });
  }

  #addLearner(
    member: NewMember,
    replaces: bigint,
    wait: MembershipWait,
    endsAt: number,
  ): Promise<MembershipReply> {
    const { peerAddress, clientAddress } = member;
    return this.#untilDone(wait, endsAt, {
      name: 'add member',
      method: ClientService.addMember,
      request: { format: FORMAT, peerAddress, clientAddress, replaces },
      kind: 'repeatable',
      slow: true,
    });
  }

  #promote(
    memberId: bigint,
    replaces: bigint,
    wait: MembershipWait,
    endsAt: number,
  ): Promise<MembershipReply> {
    return this.#untilDone(wait, endsAt, {
      name: 'promote member',
      method: ClientService.promoteMember,
      request: { format: FORMAT, memberId, replaces },
      kind: 'repeatable',
    });
  }

  #endOf({ withinMs = LIMITS.membershipDeadlineMs }: MembershipWait): number {
    return this.#options.clock.monotonicMs() + withinMs;
  }

  async #untilDone<Request>(
    { onProgress }: MembershipWait,
    endsAt: number,
    call: LeaderCall<Request, MembershipReply>,
  ): Promise<MembershipReply> {
    const { clock } = this.#options;
    const safeBy = clock.monotonicMs() + LIMITS.raftTickMs * LIMITS.raftElectionTicks;
    let told = '';
    let tellAtMs = 0;
    let unknown: TidemarkError | undefined;
    for (;;) {
      try {
        return await callLeader(this.#options, call);
      } catch (error) {
        if (!isTidemarkError(error)) throw error;
        // A leader that has just won does not know yet who follows it.
        const early = error.code === 'MEMBERSHIP_UNSAFE' && clock.monotonicMs() < safeBy;
        if (!early && !PASSING.includes(error.code)) throw failed(call.name, error, unknown);
        if (clock.monotonicMs() + PAUSE_MS >= endsAt) throw failed(call.name, error, unknown);
        if (error.code === 'OUTCOME_UNKNOWN') unknown = error;
        if (error.message !== told && clock.monotonicMs() >= tellAtMs) {
          onProgress?.(error.message);
          told = error.message;
          tellAtMs = clock.monotonicMs() + TELL_MS;
        }
      }
      await sleep(clock, PAUSE_MS);
    }
  }
}

/** A change that may have been carried out is not told as one that was not, because nobody answers now. */
function failed(name: string, error: TidemarkError, unknown: TidemarkError | undefined): TidemarkError {
  const saysNothing = error.code === 'NO_LEADER' || error.code === 'CANCELLED';
  if (saysNothing && unknown !== undefined) return gaveUp(name, unknown);
  return PASSING.includes(error.code) ? gaveUp(name, error) : error;
}

function gaveUp(name: string, error: TidemarkError): TidemarkError {
  return new TidemarkError(error.code, `${name}: ${error.message}`, {
    next: 'Look at tidemark cluster members. The same command may be given again, and goes on from here.',
    details: error.details,
    cause: error,
  });
}
