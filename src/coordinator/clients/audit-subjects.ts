/** What an audit compares, one after the other: each report database, and the marks of row states. */
import { makeToken, term as termOf, TidemarkError } from '../../base/index.ts';
import { idKey, isReconciled, type SinkRecord, type StateView } from '../../statemachine/index.ts';
import type { AuditStates, KnownStates } from '../../wire/index.ts';
import type { Send } from '../executors/executor-link.ts';
import { auditSinkWork } from '../executors/sink-work.ts';
import { topologyDefinition, type Work } from '../executors/work-messages.ts';

export interface AuditSubject {
  readonly kind: 'database' | 'states';
  readonly name: string;
  /** What must be the same before and after: the sink epoch. Undefined: nothing can be compared now. */
  readonly standing: () => string | undefined;
  readonly notStanding: () => TidemarkError;
  /** The order of one look, as of now. */
  readonly work: () => Work<(request: bigint) => Send> | undefined;
}

interface Context {
  readonly identity: { readonly clusterId: string };
  readonly view: () => StateView;
}

/** @param term the leader's: no grant has a higher one */
export function subjectsOf({ identity, view }: Context, term: number): AuditSubject[] {
  const sinks = [...view().sinks.values()].map((sink) => sinkSubject(view, identity.clusterId, sink));
  return [...sinks, statesSubject(view, term)];
}

function sinkSubject(view: () => StateView, clusterId: string, { id, name }: SinkRecord): AuditSubject {
  const current = (): SinkRecord | undefined => view().sinks.get(idKey(id));
  return {
    kind: 'database',
    name,
    standing: () => {
      const sink = current();
      return isReconciled(sink) ? sink.epoch : undefined;
    },
    notStanding: () => {
      const problem = current()?.problem ?? '';
      const why = problem === '' ? '' : `: ${problem}`;
      return new TidemarkError(
        'SINK_EPOCH',
        `report database ${name} is not compared with the log yet${why}`,
      );
    },
    work: () => {
      const sink = current();
      const work = sink === undefined ? undefined : auditSinkWork({ view: view(), clusterId }, sink);
      if (work === undefined) return undefined;
      const { message, definitions } = work;
      return {
        definitions,
        message: (request) => ({ $case: 'auditSink', value: { request, ...message } }),
      };
    },
  };
}

function statesSubject(view: () => StateView, term: number): AuditSubject {
  return {
    kind: 'states',
    name: 'row states',
    standing: () => '',
    notStanding: () => new TidemarkError('BAD_REQUEST', 'no store is declared'),
    work: () => statesWork(view(), term),
  };
}

function statesWork(view: StateView, term: number): Work<(request: bigint) => Send> {
  const { topology } = view;
  const message: Omit<AuditStates, 'request'> = {
    topologyVersion: topology?.version ?? 0,
    states: topology === undefined ? [] : knownStates(view, term),
  };
  return {
    definitions: topologyDefinition(view),
    message: (request) => ({ $case: 'auditStates', value: { request, ...message } }),
  };
}

function knownStates(view: StateView, term: number): KnownStates[] {
  const newestToken = makeToken({ term: termOf(term), n: view.cluster.grants });
  return [...view.sources.values()].flatMap(({ id, lastWindow, states, formerChains }) =>
    (states ?? []).map(({ shard, window }) => ({
      sourceId: BigInt(id),
      shard,
      window: BigInt(window),
      lastWindow: BigInt(lastWindow),
      newestToken,
      // After a restore the shard may hold windows of the former chain, until a grant takes them back.
      oldestToken: BigInt(formerChains.at(-1)?.below ?? 0),
    })),
  );
}
