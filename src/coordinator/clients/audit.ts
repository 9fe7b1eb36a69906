/**
 * Audits: the log is compared with every report database and with the marks of row states, through a
 * connected executor, at any time and without changing anything. Work goes on meanwhile, so that what the
 * log says and what a database says are never of one moment: a difference is told only if it is found twice,
 * word for word, by a leader that led all the time. Between a grant and its end a task has no word that must
 * stand in the ledger; and whatever must stand there stands until the log says something else. So what was
 * wrong between two equal words of the log is wrong.
 */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { isErrorCode, LIMITS, mutated, sleep, TidemarkError, type Clock } from '../../base/index.ts';
import type { RaftNode } from '../../raft/index.ts';
import { idKey, type StateView } from '../../statemachine/index.ts';
import {
  guardStream,
  type AuditDifference,
  type AuditedDifference,
  type AuditFound,
  type AuditPiece,
  type AuditRequest,
  type GuardedStream,
} from '../../wire/index.ts';
import { subjectsOf, type AuditSubject } from './audit-subjects.ts';
import { codedOrThrow, notLeader, withLeader } from '../coded-error.ts';
import type { ExecutorLink } from '../executors/executor-link.ts';
import { checkFormat } from '../grpc-server.ts';

const AUDIT_FORMAT = 1;
/** A database that is just being reconciled, or an executor that goes away, is given some time. */
const TRY_MS = 15_000;
const PAUSE_MS = 500;
const DIFFERENCES_PER_PIECE = 200;

/** What an audit needs of a node that belongs to a cluster. */
export interface AuditFace {
  readonly identity: { readonly clusterId: string };
  readonly raft: Pick<RaftNode, 'readIndex' | 'status'>;
  readonly view: () => StateView;
  /** Who may look, the least busy first. */
  readonly links: { live(): readonly Pick<ExecutorLink, 'define' | 'look'>[] };
  readonly clock: Clock;
}

interface Look {
  readonly differences: AuditDifference[];
  readonly more: boolean;
}

/** Serves one audit after the other. */
export class AuditService {
  readonly #face: () => AuditFace;
  #busy = false;

  /** @param face throws `NOT_INITIALIZED`, or `NOT_LEADER` while a member is starting */
  constructor(face: () => AuditFace) {
    this.#face = face;
  }

  serve(call: ServerWritableStream<AuditRequest, AuditPiece>): void {
    const stream = guardStream<never, AuditPiece>(call, {
      onMessage: () => undefined,
      onClosed: () => undefined,
    });
    void this.#answer(call.request, stream);
  }

  async #answer({ format }: AuditRequest, stream: GuardedStream<AuditPiece>): Promise<void> {
    if (this.#busy) {
      stream.fail(new TidemarkError('OVERLOADED', 'this coordinator makes an audit already'));
      return;
    }
    this.#busy = true;
    let face: AuditFace | undefined;
    try {
      checkFormat(format, AUDIT_FORMAT, 'the request for an audit');
      face = this.#face();
      await runAudit(face, stream);
      stream.end();
    } catch (error) {
      stream.fail(face === undefined ? codedOrThrow(error) : withLeader(error, face.raft.status()));
    } finally {
      this.#busy = false;
    }
  }
}

/** Where the pieces of an audit go. */
type Out = Pick<GuardedStream<AuditPiece>, 'closed' | 'write'>;

/** Runs one audit. @throws TidemarkError `NOT_LEADER` when this node does not lead throughout. */
export function runAudit(face: AuditFace, out: Out): Promise<void> {
  return new Audit(face, out).run();
}

class Audit {
  readonly #face: AuditFace;
  readonly #stream: Out;
  readonly #term: number;

  constructor(face: AuditFace, stream: Out) {
    this.#face = face;
    this.#stream = stream;
    this.#term = face.raft.status().term;
  }

  async run(): Promise<void> {
    await this.#confirmLead();
    for (const subject of subjectsOf(this.#face, this.#term)) {
      if (this.#stream.closed) return;
      await this.#audit(subject);
    }
  }

  async #audit(subject: AuditSubject): Promise<void> {
    const { clock } = this.#face;
    const until = clock.monotonicMs() + TRY_MS;
    for (;;) {
      const found = await this.#tryOnce(subject);
      if (!(found instanceof TidemarkError)) {
        this.#tell(subject, found);
        return;
      }
      if (this.#stream.closed || clock.monotonicMs() >= until) {
        this.#piece(subject, { done: true, errorCode: found.code, errorMessage: found.message });
        return;
      }
      await sleep(clock, PAUSE_MS);
    }
  }

  /** Returns what both looks have found, or why they say nothing this time. */
  async #tryOnce(subject: AuditSubject): Promise<Look | TidemarkError> {
    const standing = subject.standing();
    if (standing === undefined) return subject.notStanding();
    try {
      const first = await this.#look(subject);
      const found = first.differences.length === 0 ? first : await this.#twice(subject, first);
      await this.#confirmLead();
      if (subject.standing() !== standing && !mutated('audit.epochChangeIgnored')) {
        return new TidemarkError('SINK_EPOCH', `${subject.name} was put under another epoch meanwhile`);
      }
      return found;
    } catch (error) {
      const known = codedOrThrow(error);
      if (known.code === 'NOT_LEADER') throw known;
      return known;
    }
  }

  async #twice(subject: AuditSubject, first: Look): Promise<Look> {
    if (mutated('audit.looksOnce')) return first;
    const second = await this.#look(subject);
    const again = new Set(second.differences.map(textOf));
    const differences = first.differences.filter((found) => again.has(textOf(found)));
    return { differences, more: first.more && second.more };
  }

  /** @throws TidemarkError `NO_EXECUTOR`, and what the executor answers. */
  async #look(subject: AuditSubject): Promise<Look> {
    const [link] = this.#face.links.live();
    const work = subject.work();
    if (work === undefined) throw subject.notStanding();
    if (link === undefined)
      throw new TidemarkError('NO_EXECUTOR', 'no executor is connected that could look');
    const differences: AuditDifference[] = [];
    let last: AuditFound | undefined;
    link.define(work.definitions);
    await link.look(work.message, (piece) => {
      differences.push(...piece.differences.slice(0, LIMITS.auditDifferencesMax - differences.length));
      this.#piece(subject, { compared: piece.compared });
      last = piece;
    });
    if (last !== undefined && last.errorCode !== '') throw executorError(last);
    return { differences, more: last?.more ?? false };
  }

  /** What this node knew was so only if it leads still: else a later leader may have granted more. */
  async #confirmLead(): Promise<void> {
    const { raft } = this.#face;
    if (!mutated('audit.leaderNotAsked')) await raft.readIndex();
    const { leading, term } = raft.status();
    if (!leading || term !== this.#term) throw notLeader(raft.status());
  }

  #tell(subject: AuditSubject, { differences, more }: Look): void {
    const named = differences.map((found) => this.#named(found));
    for (let at = 0; at < named.length; at += DIFFERENCES_PER_PIECE) {
      this.#piece(subject, { differences: named.slice(at, at + DIFFERENCES_PER_PIECE) });
    }
    this.#piece(subject, { done: true, more });
  }

  #piece({ kind, name }: AuditSubject, change: Partial<AuditPiece>): void {
    const nothing = { differences: [], compared: 0n, done: false, more: false };
    this.#stream.write({ kind, name, ...nothing, errorCode: '', errorMessage: '', ...change });
  }

  #named(found: AuditDifference): AuditedDifference {
    const { reportId, sourceId, ...rest } = found;
    const { reports, sources } = this.#face.view();
    const nameIn = (
      table: { get(key: string): { readonly name: string } | undefined },
      id: bigint,
    ): string => (id === 0n ? '' : (table.get(idKey(Number(id)))?.name ?? `#${id}`));
    return { ...rest, report: nameIn(reports, reportId), source: nameIn(sources, sourceId) };
  }
}

const textOf = (found: AuditDifference): string =>
  JSON.stringify(found, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));

function executorError({ errorCode, errorMessage }: AuditFound): TidemarkError {
  return new TidemarkError(isErrorCode(errorCode) ? errorCode : 'INTERNAL', errorMessage);
}
