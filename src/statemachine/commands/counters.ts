/** Numbers that only the log hands out: ids and fencing tokens. None is ever given twice. */
import { makeToken, mutated, term } from '../../base/index.ts';
import type { ApplyMeta } from './operations.ts';
import type { ClusterRecord } from './records.ts';
import type { StateWriter } from './writer.ts';

/** Takes the next id of a family. */
export function nextId(writer: StateWriter, family: keyof ClusterRecord['ids']): number {
  const { cluster } = writer;
  const id = cluster.ids[family] + 1;
  writer.setCluster({ ...cluster, ids: { ...cluster.ids, [family]: id } });
  return id;
}

/** No cluster redefines a report so often. */
const GENERATIONS_PER_LIFE = 2 ** 20;

/**
 * The generation after this one, of one report. A cluster that was restored skips those that its former
 * self may have made since: their tables may be full.
 */
export function nextGeneration(writer: StateWriter, generation: number): number {
  const lives = writer.cluster.formerIds?.length ?? 0;
  return Math.max(generation, lives * GENERATIONS_PER_LIFE) + 1;
}

/**
 * Makes the next fencing token (design section 5): the term of the entry that grants, and a counter that
 * grows by one per grant, so that two grants in one entry differ and a later one is always greater.
 */
export function nextToken(writer: StateWriter, meta: ApplyMeta): string {
  const { cluster } = writer;
  const grants = cluster.grants + 1;
  writer.setCluster({ ...cluster, grants });
  const n = mutated('state.tokenFromTermOnly') ? 1 : grants;
  return makeToken({ term: term(meta.term), n }).toString();
}

/** Tokens of replaced grants that are remembered, so that their database connections can be killed. */
const SUPERSEDED_MAX = 4;

/** What a grant that takes the place of `grant` remembers, newest first. */
export function supersede(
  grant: { readonly token: string; readonly superseded: readonly string[] } | null | undefined,
): readonly string[] {
  return grant === null || grant === undefined
    ? []
    : [grant.token, ...grant.superseded].slice(0, SUPERSEDED_MAX);
}
