/** Collects what is wrong with a job file, each with its place, and tells all of it at once. */
import { isMap, isScalar, type Document, type LineCounter, type Node } from 'yaml';
import { TidemarkError, type ErrorCode } from '../../base/index.ts';

export type Path = readonly (string | number)[];

export interface Problem {
  readonly path: Path;
  readonly message: string;
}

/** How many problems one error tells; the rest is counted. */
const PROBLEMS_MAX = 20;

/** Where things stand in the text. */
export class Places {
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(document: Document, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** `line:column` of the key at `path`, or of what is nearest above it. */
  of(path: Path): string {
    for (let length = path.length; length >= 0; length -= 1) {
      const offset = this.#offset(path.slice(0, length));
      if (offset === undefined) continue;
      const { line, col } = this.#lines.linePos(offset);
      return `${line}:${col}`;
    }
    return '1:1';
  }

  #offset(path: Path): number | undefined {
    const parent = this.#document.getIn(path.slice(0, -1), true);
    const key = path.at(-1);
    if (isMap(parent) && key !== undefined) {
      const pair = parent.items.find((item) => (isScalar(item.key) ? item.key.value : item.key) === key);
      const node = pair?.key as Node | null | undefined;
      return node?.range?.[0];
    }
    return (this.#document.getIn(path, true) as Node | undefined)?.range?.[0];
  }
}

/** Makes one error of all problems: `line:column path: message`, one a line, in the order of the file. */
export function problemsError(
  code: ErrorCode,
  problems: readonly Problem[],
  places: Places,
  next: string,
): TidemarkError {
  const lines = problems
    .map((problem) => ({ at: places.of(problem.path), problem }))
    .sort((left, right) => order(left.at) - order(right.at))
    .map(({ at, problem }) => `${at} ${problem.path.join('.') || '(the file)'}: ${problem.message}`);
  const rest = lines.length - PROBLEMS_MAX;
  const shown = lines.slice(0, PROBLEMS_MAX);
  if (rest > 0) shown.push(`and ${rest} more`);
  return new TidemarkError(code, shown.join('\n'), { next });
}

function order(place: string): number {
  const [line, column] = place.split(':').map(Number);
  return (line ?? 0) * 100_000 + (column ?? 0);
}
