/**
 * Applying a job file (design section 8): checked as text here, then by one connected executor against the
 * databases, which a coordinator never opens; then declared in the log under the client's own session and
 * sequence, so that a repeated apply gets its first answer.
 */
import { LIMITS, TidemarkError, isErrorCode } from '../../base/index.ts';
import { parseJobFile, type CompiledReport, type CompiledSource } from '../../job/index.ts';
import type { RaftStatus } from '../../raft/index.ts';
import { idKey, newestNamed } from '../../statemachine/index.ts';
import type {
  DeclaredItem,
  OperationResult,
  ReportRecord,
  SourceRecord,
  StateView,
} from '../../statemachine/index.ts';
import type { ApplyReply, ApplyRequest, ValidateOutcome } from '../../wire/index.ts';
import { notLeader } from '../coded-error.ts';
import { declaration, type Known } from './declare.ts';
import { knownJob, sealedSources } from './known-job.ts';
import type { ExecutorLinks } from '../executors/executor-links.ts';
import type { Proposer, Proposing } from '../proposer.ts';
import { preview } from './preview.ts';
import { reportDetail } from './report-detail.ts';
import { safeNumber } from '../safe-number.ts';

export interface ApplyContext {
  readonly status: () => RaftStatus;
  readonly view: () => StateView;
  readonly proposer: Proposer;
  readonly links: ExecutorLinks;
}

const VALIDATORS_MAX = 3;

export async function applyJob(context: ApplyContext, request: ApplyRequest): Promise<ApplyReply> {
  const { term, leading } = context.status();
  if (!leading) throw notLeader(context.status());
  const as = requestId(request);
  const answered = (
    results: readonly OperationResult[],
    declared: Iterable<Described> = context.view().reports.values(),
  ): ApplyReply => described(readReply(results).items, declared);
  if (!request.dryRun && isAnswered(context.view(), as)) {
    // The log has the answer; which operations come with the repetition makes no difference.
    return answered(await context.proposer.propose([], as));
  }
  checkEarly(request.jobYaml);
  const operation = declaration(await compile(context, request.jobYaml), known(context.view()));
  if (!context.status().leading || context.status().term !== term) throw notLeader(context.status());
  if (request.dryRun) return answered([preview(context.view(), operation)], operation.reports);
  const before = [...context.view().sources.values()];
  const results = await context.proposer.propose([operation], as);
  stopReplaced(context, before);
  return answered(results);
}

/** A collector without its grant would only hear of that at its next seal, which may be minutes away. */
function stopReplaced({ links, view }: ApplyContext, before: readonly SourceRecord[]): void {
  for (const { id: sourceId, collector } of before) {
    if (collector === null || view().sources.get(idKey(sourceId))?.collector?.epoch === collector.epoch)
      continue;
    links.stopCollector(collector.executorId, { sourceId, epoch: collector.epoch });
  }
}

/** Reading a large file takes half an election timeout: it is left to the executor, which reads it anyway. */
function checkEarly(jobYaml: string): void {
  const bytes = Buffer.byteLength(jobYaml);
  if (bytes <= LIMITS.jobFileEarlyBytesMax || bytes > LIMITS.jobFileBytesMax) parseJobFile(jobYaml);
}

type Items = ApplyReply['items'];
type Described = Pick<ReportRecord, 'name' | 'spec'>;

/** Says of each report how it is computed; of other things, their names say enough. */
function described(items: Items, reports: Iterable<Described>): ApplyReply {
  const specs = new Map([...reports].map(({ name, spec }) => [name, spec]));
  const detailOf = ({ kind, name }: Items[number]): string => {
    const spec = kind === 'report' ? specs.get(name) : undefined;
    return spec === undefined ? '' : reportDetail(JSON.parse(spec) as CompiledReport);
  };
  return { items: items.map((item) => ({ ...item, detail: detailOf(item) })) };
}

function known(view: StateView): Known {
  // Read once: each of a hundred reports asks for its own.
  const sealed = new Map(
    sealedSources(view).map(({ name, spec, formerTables, addition }) => {
      const adding = addition === null ? undefined : (JSON.parse(addition.spec) as CompiledSource);
      return [name, { source: JSON.parse(spec) as CompiledSource, formerTables, adding }] as const;
    }),
  );
  return {
    source: (wanted) => sealed.get(wanted)?.source,
    adding: (wanted) => sealed.get(wanted)?.adding,
    formerTables: (wanted) => sealed.get(wanted)?.formerTables ?? 0,
    reportHash: (wanted) => newestNamed(view, wanted)?.specHash,
    sink: (wanted) => {
      const source = [...view.sources.values()].find(({ name }) => name === wanted);
      return source === undefined ? undefined : view.sinks.get(idKey(source.sinkId))?.name;
    },
  };
}

/** Names the request of a session; session 0 is the leader's own. */
export function requestId(request: { readonly sessionId: bigint; readonly sequence: bigint }): Proposing {
  if (request.sessionId <= 0n || request.sequence <= 0n) {
    throw new TidemarkError('BAD_REQUEST', 'a change needs a session and a sequence number above 0');
  }
  return {
    session: safeNumber(request.sessionId, 'session id'),
    sequence: safeNumber(request.sequence, 'sequence'),
  };
}

function isAnswered(view: StateView, as: Proposing): boolean {
  const session = view.sessions.get(idKey(as.session));
  return session?.replies.some(({ sequence }) => sequence === as.sequence) ?? false;
}

/**
 * Lets one connected executor check and compile the job; another one is asked if the first goes away
 * meanwhile.
 */
async function compile({ links, view }: ApplyContext, jobYaml: string): Promise<string> {
  for (const link of links.live().slice(0, VALIDATORS_MAX)) {
    const outcome = await link.validate(jobYaml, knownJob(view()), LIMITS.clientDeadlineMs);
    if (outcome !== undefined) return readOutcome(outcome);
  }
  throw new TidemarkError(
    'NO_EXECUTOR',
    'no executor is connected that could check the job against its databases',
    {
      next: 'Start one with: tidemark executor start',
    },
  );
}

function readOutcome(outcome: ValidateOutcome): string {
  if (outcome.errorCode === '') return outcome.compiledJson;
  const code = isErrorCode(outcome.errorCode) ? outcome.errorCode : 'INTERNAL';
  const next = outcome.errorNext === '' ? {} : { next: outcome.errorNext };
  throw new TidemarkError(code, outcome.errorMessage, next);
}

function readReply(results: readonly OperationResult[]): ApplyReply {
  const [result] = results;
  if (result === undefined)
    throw new TidemarkError('SEQUENCE_STALE', 'the answer of this apply is not kept any more');
  if (!result.ok) throw new TidemarkError(result.code, result.message);
  const items = JSON.parse(String(result.value['items'])) as DeclaredItem[];
  return {
    items: items.map((item) => ({
      ...item,
      id: BigInt(item.id),
      generation: BigInt(item.generation),
      detail: '',
    })),
  };
}
