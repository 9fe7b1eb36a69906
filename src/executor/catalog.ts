/**
 * What tasks, collectors and prepare orders refer to: the compiled documents that a leader sends once per
 * stream before their first use. A newer document of the same id replaces the older one.
 */
import { TidemarkError } from '../base/index.ts';
import {
  JOB_FORMAT,
  type CapturedTable,
  type CompiledReport,
  type CompiledSink,
  type CompiledSource,
  type CompiledTopology,
} from '../job/index.ts';
import { readReportDefinition, type Definition } from '../wire/index.ts';
import { layoutOf, type ReportLayout } from './sink/layout.ts';

export class Catalog {
  readonly #documents = new Map<string, unknown>();
  readonly #layouts = new Map<string, ReportLayout>();

  /** @throws TidemarkError `FORMAT_UNKNOWN`, `BAD_REQUEST` for a document that this program cannot read. */
  put(definitions: readonly Definition[]): void {
    for (const { id, json } of definitions) {
      this.#documents.set(id, parse(id, json));
      this.#layouts.delete(id);
    }
  }

  source(sourceId: number): CompiledSource {
    return this.#get(`source/${sourceId}`) as CompiledSource;
  }

  /** A source with the tables that are being added to it. */
  addition(sourceId: number): CompiledSource {
    return this.#get(`addition/${sourceId}`) as CompiledSource;
  }

  /**
   * A captured table under the schema version that a window names: the source's own, or one that it replaced.
   * @throws TidemarkError `BAD_REQUEST` when the leader has not defined it.
   */
  captured(sourceId: number, table: string, version: number): CapturedTable {
    const current = this.source(sourceId).tables.find((one) => one.table === table);
    if (current?.schemaVersion === version) return current;
    return this.#get(`schema/${sourceId}/${table}/${version}`) as CapturedTable;
  }

  sink(sinkId: number): CompiledSink {
    return this.#get(`sink/${sinkId}`) as CompiledSink;
  }

  topology(version: number): CompiledTopology {
    return this.#get(`topology/${version}`) as CompiledTopology;
  }

  /** The newest topology that was sent. */
  newestTopology(): CompiledTopology {
    let newest: CompiledTopology | undefined;
    for (const [id, document] of this.#documents) {
      if (!id.startsWith('topology/')) continue;
      const topology = document as CompiledTopology;
      if (newest === undefined || topology.version > newest.version) newest = topology;
    }
    if (newest === undefined) throw unknown('topology');
    return newest;
  }

  /** The layout of a report generation, by the id of its definition. */
  report(id: string): ReportLayout {
    const known = this.#layouts.get(id);
    if (known !== undefined) return known;
    const generation = readReportDefinition(id);
    if (generation === undefined)
      throw new TidemarkError('BAD_REQUEST', `not a report's definition id: ${id}`);
    const layout = layoutOf(generation, this.#get(id) as CompiledReport);
    this.#layouts.set(id, layout);
    return layout;
  }

  #get(id: string): unknown {
    const document = this.#documents.get(id);
    if (document === undefined) throw unknown(id);
    return document;
  }
}

function unknown(id: string): TidemarkError {
  return new TidemarkError('BAD_REQUEST', `the leader refers to ${id} before it has defined it`);
}

/** The shape inside was checked when the job was compiled; here only its version is. */
function parse(id: string, json: string): unknown {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch (cause) {
    throw new TidemarkError('BAD_REQUEST', `the definition of ${id} is not JSON`, { cause });
  }
  const format = (document as { format?: unknown } | null)?.format;
  if (format !== JOB_FORMAT) {
    throw new TidemarkError('FORMAT_UNKNOWN', `${id} has format ${String(format)}, not ${JOB_FORMAT}`, {
      next: 'Run executors of the same version as the coordinators.',
    });
  }
  return document;
}
