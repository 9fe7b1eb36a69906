/** Reads a request to read the tables of a source again (design 6.5). */
import { DECLARE_AGAIN, TidemarkError } from '../../base/index.ts';
import type { CompiledSource } from '../../job/index.ts';
import type { Operation, StateView } from '../../statemachine/index.ts';
import type { ResnapshotRequest } from '../../wire/index.ts';

/** @throws TidemarkError `UNKNOWN_SOURCE`; `RESNAPSHOT_REFUSED` for a source whose log has no single ends. */
export function readResnapshot(request: ResnapshotRequest, view: StateView): Operation {
  const source = [...view.sources.values()].find(({ name }) => name === request.source);
  if (source === undefined) {
    throw new TidemarkError('UNKNOWN_SOURCE', `there is no source ${request.source}`, {
      next: 'List the sources with: tidemark source list',
    });
  }
  const { engine } = JSON.parse(source.spec) as CompiledSource;
  if (engine === 'embedded') {
    throw new TidemarkError('RESNAPSHOT_REFUSED', `source ${source.name} is an embedded database`, {
      next: DECLARE_AGAIN,
    });
  }
  return { type: 'source.resnapshot', v: 1, sourceId: source.id };
}
